"""``/v1/studies`` and ``/v1/campaigns``: accepting, listing, reading and cancelling them.

Accepting one adds its row alone. The sweeper's process, or ``errata serve``, starts its jobs (api.studies.follow).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.evaluations import check_scoring
from api.http.auth import Trainer
from api.http.errors import Conflict, Invalid, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import KINDS, body_row
from api.jobs import JobResource
from api.language_models import model_names
from api.studies.parts import Parts
from api.studies.rounds import check_round
from api.studies.schemas import CampaignIn, CampaignOut, PartCounts, PartOut, StudyIn, StudyOut
from api.studies.study import steps_of
from api.training.routes import trainable_model
from errata.output_config import EvaluationConfig
from errata.types import Domain
from models.base import new_id
from models.events import record
from models.states import TERMINAL, JobState, move
from models.studies import Campaign, CampaignPart, Study, StudyPart
from models.workspaces import LanguageModel, ProblemSet
from workers.dispatch import Hint

router = make_router("/v1", "studies")


def new_study(session: Session, workspace_id: str, body: StudyIn) -> tuple[Study, list[Hint]]:
    """Add a study in the caller's transaction. Raises Invalid naming the field."""
    config = body.config
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    test_set = body_row(session, ProblemSet, body.test_set, workspace_id, "test_set")
    validation_set = None
    if body.validation_set is not None:
        validation_set = body_row(session, ProblemSet, body.validation_set, workspace_id, "validation_set")
    elif config.tunes:
        remedy = "name one whose problems are not the test problems, or give each arm one trial"
        raise Invalid.field("validation_set", "trials are chosen between on validation problems", remedy)
    _check_apart(problem_set, test_set, "test_set")
    if validation_set is not None:
        _check_apart(test_set, validation_set, "validation_set")
    model = trainable_model(session, body.language_model, workspace_id, "language_model")
    for field, each in (("test_set", test_set), ("validation_set", validation_set)):
        if each is not None:
            _check_measured(session, config.evaluation, each, model, field)
    budget = steps_of(config.budget.steps, config.budget.batch_size)
    for at, arm in enumerate(config.arms):
        for trial in arm.trials if arm.trains else ():
            check_round(arm, Domain(problem_set.domain), f"config.arms.{at}", {**arm.training, **trial, **budget})
    row = Study(
        id=new_id("study"),
        workspace_id=workspace_id,
        problem_set_id=problem_set.id,
        validation_set_id=validation_set.id if validation_set else None,
        test_set_id=test_set.id,
        language_model_id=model.id,
        name=body.name,
        config=config.model_dump(mode="json"),
    )
    return _added(session, row)


def new_campaign(session: Session, workspace_id: str, body: CampaignIn) -> tuple[Campaign, list[Hint]]:
    """Add a campaign in the caller's transaction. Raises Invalid naming the field."""
    config = body.config
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    evaluation_set = body_row(session, ProblemSet, body.evaluation_set, workspace_id, "evaluation_set")
    _check_apart(problem_set, evaluation_set, "evaluation_set")
    model = trainable_model(session, body.language_model, workspace_id, "language_model")
    _check_measured(session, config.evaluation, evaluation_set, model, "evaluation_set")
    check_round(config, Domain(problem_set.domain), "config", config.training)
    row = Campaign(
        id=new_id("camp"),
        workspace_id=workspace_id,
        problem_set_id=problem_set.id,
        evaluation_set_id=evaluation_set.id,
        language_model_id=model.id,
        name=body.name,
        config=config.model_dump(mode="json"),
    )
    return _added(session, row)


def _added(session: Session, row: Any) -> tuple[Any, list[Hint]]:
    session.add(row)
    session.flush()
    record(session, row.workspace_id, row.id, "queued")
    return row, []


def _check_apart(one: ProblemSet, other: ProblemSet, field: str) -> None:
    if one.id == other.id or one.content_sha256 == other.content_sha256:
        told = "these are the problems of another set of the request: what they measure would be known before"
        raise Invalid.field(field, told, "give a set with other problems")


def _check_measured(
    session: Session, config: EvaluationConfig, problem_set: ProblemSet, model: LanguageModel, field: str
) -> None:
    try:
        check_scoring(session, config, problem_set, model)
    except Invalid as error:
        refused = error.errors[0]
        raise Invalid.field(f"config.evaluation ({field})", refused.message, refused.remedy) from None


def stop(session: Session, row: Any) -> list[Hint]:
    """Cancel a study or campaign in the caller's transaction, with what it started. Raises Conflict where it ended."""
    table = type(row)
    if not move(session, table, row.id, JobState.CANCELLING):
        if row.state in TERMINAL:
            raise Conflict(f"the {KINDS[table].name} has already ended: {row.state}")
        return []
    record(session, row.workspace_id, row.id, "cancelling")
    parts = Parts(session, row, concurrency=1)
    if parts.cancel_all():
        move(session, table, row.id, JobState.CANCELLED)
        record(session, row.workspace_id, row.id, JobState.CANCELLED)
    return []


def _counts(session: Session, row: Any) -> tuple[PartCounts, list[PartOut]]:
    found = Parts(session, row, concurrency=1)
    order = {row_id: at for at, row_id in enumerate(_in_order(session, row))}
    rows = sorted(found.rows(), key=lambda each: order[each.id])
    ended = sum(each.state in TERMINAL for each in rows)
    told = [
        PartOut(id=each.id, kind=KINDS[type(each)].name, state=each.state, url=f"{KINDS[type(each)].url}/{each.id}")
        for each in rows
    ]
    return PartCounts(made=len(found.ids), open=len(rows) - ended, ended=ended), told


def _in_order(session: Session, row: Any) -> list[str]:
    part: Any = StudyPart if isinstance(row, Study) else CampaignPart
    column = StudyPart.study_id if isinstance(row, Study) else CampaignPart.campaign_id
    return list(session.scalars(select(part.row_id).where(column == row.id).order_by(part.created_at, part.key)))


def _answers(model: type[Any], session: Session, rows: Sequence[Any]) -> list[Any]:
    """The rows of a list: their parts are only counted."""
    names = model_names(session, [row.language_model_id for row in rows])
    answers = []
    for row in rows:
        part: Any = StudyPart if isinstance(row, Study) else CampaignPart
        column = StudyPart.study_id if isinstance(row, Study) else CampaignPart.campaign_id
        made = session.scalar(select(func.count()).select_from(part).where(column == row.id)) or 0
        ended = made if row.state in TERMINAL else _counts(session, row)[0].ended
        counts = PartCounts(made=made, open=made - ended, ended=ended)
        answers.append(model.of(row, language_model=names.get(row.language_model_id, ""), parts=counts))
    return answers


def _answer(model: type[Any], session: Session, row: Any) -> Any:
    counts, rows = _counts(session, row)
    names = model_names(session, [row.language_model_id])
    return model.of(row, language_model=names.get(row.language_model_id, ""), parts=counts, rows=rows)


studies = JobResource(
    table=Study,
    body=StudyIn,
    model=StudyOut,
    name="study",
    caller=Trainer,
    create=new_study,
    answers=partial(_answers, StudyOut),
    answer=partial(_answer, StudyOut),
    references={"problem_set": ProblemSet},
    plural="studies",
    texts={
        "create": "Compare ways of making a model: arms x seeds under equal budgets, tested on problems of their own.",
        "list": "Studies, newest first.",
        "get": "One study with its parts and, once it has ended, its table.",
    },
)
studies.register(router)
campaigns = JobResource(
    table=Campaign,
    body=CampaignIn,
    model=CampaignOut,
    name="campaign",
    caller=Trainer,
    create=new_campaign,
    answers=partial(_answers, CampaignOut),
    answer=partial(_answer, CampaignOut),
    references={"problem_set": ProblemSet},
    texts={
        "create": "Improve a model in rounds: inject, train and evaluate, each with the newest model.",
        "list": "Campaigns, newest first.",
        "get": "One campaign with its parts and rounds.",
    },
)
campaigns.register(router)


@router.post("/studies/{study_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_study(caller: Trainer, api: ApiDep, study_id: str, response: Response) -> StudyOut:
    """Ask a study to stop, with every job that it started; what they have stays."""
    return studies.change(api, caller, study_id, response, stop)


@router.post("/campaigns/{campaign_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_campaign(caller: Trainer, api: ApiDep, campaign_id: str, response: Response) -> CampaignOut:
    """Ask a campaign to stop, with every job that it started; what they have stays."""
    return campaigns.change(api, caller, campaign_id, response, stop)
