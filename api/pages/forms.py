"""What can be started from the pages: each form's fields, the body it sends, and the resource that takes it.

A form makes the same body as a request to ``/v1`` and goes through the same checks. Fields name their place in it
(``config.sampling.samples``); what is left empty is left out, so that the preset decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.datasets import DatasetIn, new_dataset
from api.estimates import EstimateIn, new_estimate
from api.evaluations import EvaluationIn, new_evaluation
from api.http import strict_json
from api.http.auth import Scope
from api.http.errors import Invalid, invalid_below
from api.injection_jobs.jobs import InjectionJobIn, new_injection_job
from api.language_models import visible
from api.training.routes import new_training_job
from api.training.schemas import TrainingJobIn
from errata import preset_sentences
from models.base import Base
from models.jobs import Estimate, InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.states import TERMINAL, JobState
from models.workspaces import LanguageModel, ProblemSet
from workers.dispatch import Hint

FieldKind = Literal["text", "number", "json", "choice", "choices", "check"]
Values = dict[str, list[str]]
_CHOICES = 200  # rows offered in a list; the newest


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a field."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Field:
    """One input. ``name``: where its value goes in the body, dotted; ``sends``: what a ticked check puts there."""

    name: str
    label: str
    kind: FieldKind = "text"
    hint: str = ""
    required: bool = False
    options: tuple[Option, ...] = ()
    sends: Any = True
    given: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """What a field of one value shows."""
        return self.given[0] if self.given else ""


@dataclass(frozen=True, slots=True)
class Form:
    """A form: what it starts, who may, and what takes its body. ``also``: another form its second button is for."""

    title: str
    about: str
    scope: Scope
    url: str
    table: type[Base]
    body: type[BaseModel]
    create: Callable[[Session, str, Any], tuple[Any, list[Hint]]]
    goes_to: str
    fields: Callable[[Session, str], Sequence[Field]]
    submit: str
    also: tuple[str, str] | None = None


def with_values(fields: Sequence[Field], values: Values) -> list[Field]:
    """The fields with what was given for them."""
    return [replace(each, given=tuple(values.get(each.name, ()))) for each in fields]


def body_of(fields: Sequence[Field]) -> dict[str, Any]:
    """The request's body. Raises Invalid naming a field whose JSON cannot be read."""
    body: dict[str, Any] = {}
    # JSON first: single fields lie over it.
    for field in sorted(fields, key=lambda each: each.kind != "json"):
        value = _value(field)
        if value is not None:
            _place(body, field.name.split("."), value)
    return body


def _value(field: Field) -> Any:
    given = [text.strip() for text in field.given if text.strip()]
    if not given:
        return None
    if field.kind == "choices":
        return given
    if field.kind == "check":
        return field.sends
    if field.kind in ("json", "number"):
        try:
            return strict_json.loads(given[0])
        except strict_json.JsonError as error:
            if field.kind == "number":
                return given[0]  # the body's own check says what it should be
            raise Invalid.field(
                field.name, f"not acceptable JSON: {error}", 'give an object such as {"seed": 1}'
            ) from None
    return given[0]


def _place(body: dict[str, Any], path: list[str], value: Any) -> None:
    at = body
    for name in path[:-1]:
        below = at.setdefault(name, {})
        if not isinstance(below, dict):
            raise Invalid.field(".".join(path), f"'{name}' is no object in the JSON below", "give an object there")
        at = below
    if isinstance(value, dict) and isinstance(at.get(path[-1]), dict):
        at[path[-1]] = {**value, **at[path[-1]]}
    else:
        at[path[-1]] = value


def checked(form: Form, body: Mapping[str, Any]) -> BaseModel:
    """The body as the resource takes it. Raises Invalid naming the fields."""
    with invalid_below():
        return form.body.model_validate(body)


def _sets(session: Session, workspace_id: str) -> tuple[Option, ...]:
    query = select(ProblemSet).where(ProblemSet.workspace_id == workspace_id).order_by(ProblemSet.created_at.desc())
    rows = session.scalars(query.limit(_CHOICES))
    return tuple(Option(row.id, f"{row.name} ({row.problem_count:,} problems, {row.domain})") for row in rows)


def _models(session: Session, workspace_id: str, *, none: str | None = None) -> tuple[Option, ...]:
    """Models to choose from, newest first. Where ``none`` may be chosen, those that were trained from nothing lead."""
    newest = LanguageModel.created_at.desc()
    order = (newest,) if none is None else (LanguageModel.base_model_id.is_not(None), newest)
    rows = session.scalars(select(LanguageModel).where(visible(workspace_id)).order_by(*order).limit(_CHOICES)).all()
    names = dict.fromkeys(row.name for row in rows)
    last = () if none is None else (Option("", none),)
    return (*(Option(name, name) for name in names), *last)


def _presets(told: Mapping[str, str]) -> tuple[Option, ...]:
    return tuple(Option(name, f"{name}: {sentence}") for name, sentence in told.items())


_NO_MODEL = "none: rules edit solutions that were brought along"


def _job_fields(session: Session, workspace_id: str) -> list[Field]:
    return [
        Field("problem_set", "Problem set", "choice", required=True, options=_sets(session, workspace_id)),
        Field("language_model", "Language model", "choice", options=_models(session, workspace_id, none=_NO_MODEL)),
        Field("preset", "Preset", "choice", required=True, options=_presets(preset_sentences.INJECTION)),
        Field("name", "Name", hint="Your own; optional."),
        Field("config.sampling.samples", "Samples per problem", "number", hint="Empty: as the preset says."),
        Field(
            "config.sampling.source",
            "Use solutions that were brought along",
            "check",
            hint="Instead of sampling from the model.",
            sends="brought",
        ),
        Field("config", "Further settings", "json", hint="JSON laid over the preset; see the API reference."),
    ]


def _preset_of(job: InjectionJob) -> str:
    preset = job.config.get("preset")
    return f"{preset}, " if preset else ""


def _dataset_fields(session: Session, workspace_id: str) -> list[Field]:
    query = (
        select(InjectionJob, ProblemSet.name)
        .join(ProblemSet, ProblemSet.id == InjectionJob.problem_set_id)
        .where(InjectionJob.workspace_id == workspace_id, InjectionJob.state.in_(sorted(TERMINAL)))
        .order_by(InjectionJob.created_at.desc())
    )
    options = tuple(
        Option(job.id, f"{job.name or of_set}, {_preset_of(job)}{job.created_at:%Y-%m-%d %H:%M} ({job.id})")
        for job, of_set in session.execute(query.limit(_CHOICES)).all()
    )
    return [
        Field("name", "Name", required=True),
        Field("jobs", "Injection jobs", "choices", required=True, options=options, hint="Those that have ended."),
        Field("config.split.test", "Share held out", "number", hint="Of the questions; empty: 0.05."),
        Field("config", "Further settings", "json", hint="Filters, shapes, seed; see the API reference."),
    ]


def _training_fields(session: Session, workspace_id: str) -> list[Field]:
    query = (
        select(Dataset)
        .where(Dataset.workspace_id == workspace_id, Dataset.state == JobState.SUCCEEDED)
        .order_by(Dataset.created_at.desc())
    )
    datasets = tuple(Option(row.id, row.name) for row in session.scalars(query.limit(_CHOICES)))
    return [
        Field("dataset", "Dataset", "choice", required=True, options=datasets),
        Field("base_model", "Start model", "choice", required=True, options=_models(session, workspace_id)),
        Field("output_name", "Name of the new model", required=True),
        Field("preset", "Preset", "choice", required=True, options=_presets(preset_sentences.TRAINING)),
        Field("config.learning_rate", "Learning rate", "number", hint="Empty: as the preset says."),
        Field("config.epochs", "Epochs", "number", hint="Empty: as the preset says."),
        Field("config.lora", "Train an adapter (LoRA)", "check", sends={}),
        Field("hosts", "Hosts", "number", hint="Trainers that train it together. Empty: one."),
        Field("config", "Further settings", "json", hint="JSON laid over the preset; see the API reference."),
    ]


def _evaluation_fields(session: Session, workspace_id: str) -> list[Field]:
    return [
        Field("problem_set", "Problem set", "choice", required=True, options=_sets(session, workspace_id)),
        Field("language_model", "Language model", "choice", required=True, options=_models(session, workspace_id)),
        Field("name", "Name", hint="Your own; optional."),
        Field("config.temperature", "Temperature", "number", hint="Empty: 0, which is greedy."),
        Field("config.samples", "Answers per problem", "number", hint="Above 1 also pass@k and maj@k."),
        Field("config.limit", "First problems only", "number", hint="Empty: all of them."),
        Field("config", "Further settings", "json", hint="JSON; see the API reference."),
    ]


FORMS: dict[str, Form] = {
    "jobs": Form(
        "Start an injection job",
        "Solutions are sampled or taken as brought, verified, edited into subtle errors, and paired.",
        "write",
        "/v1/injection-jobs",
        InjectionJob,
        InjectionJobIn,
        new_injection_job,
        "/jobs",
        _job_fields,
        "Start the job",
        also=("estimates", "Estimate first"),
    ),
    "estimates": Form(
        "Estimate an injection job",
        "A pilot over a few problems forecasts pairs, tokens and time.",
        "write",
        "/v1/injection-jobs:estimate",
        Estimate,
        EstimateIn,
        new_estimate,
        "/estimates",
        _job_fields,
        "Run the pilot",
    ),
    "datasets": Form(
        "Freeze a dataset",
        "The pairs of ended jobs become files, once and for good.",
        "write",
        "/v1/datasets",
        Dataset,
        DatasetIn,
        new_dataset,
        "/datasets",
        _dataset_fields,
        "Freeze",
    ),
    "training": Form(
        "Train a model",
        "A run takes a frozen dataset and a start model, and makes a new model.",
        "train",
        "/v1/training-jobs",
        TrainingRun,
        TrainingJobIn,
        new_training_job,
        "/training",
        _training_fields,
        "Start training",
    ),
    "evaluations": Form(
        "Evaluate a model",
        "The model answers a problem set, and its answers are verified.",
        "write",
        "/v1/evaluations",
        Evaluation,
        EvaluationIn,
        new_evaluation,
        "/evaluations",
        _evaluation_fields,
        "Evaluate",
    ),
}
