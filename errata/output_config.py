"""The configurations of datasets and evaluations: every choice named, bounded, and complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from errata.config import Probability, Temperature, ThoughtMarkers
from errata.gates.config import GatesConfig
from errata.prompt_config import SolvePromptConfig
from errata.strict import Strict
from errata.types import EditorName, EvidenceKind

PairType = Literal["step", "full"]
ShapeName = Literal[
    "steps_and_full", "whole", "whole_conversational", "whole_kto", "whole_kto_conversational", "whole_openai", "sft",
    "sft_conversational", "trl", "trl_conversational", "step_dpo", "openai", "kto", "process_reward", "critique",
]  # fmt: skip

FormName = Literal["stands", "consistent"]
Values = Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(min_length=1, max_length=100)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class SplitConfig(Strict):
    """How rows are divided. By problem: no question occurs on both sides."""

    test: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.05, description="Share of the questions held out.")
    by: Literal["problem"] = "problem"


class Bounds(Strict):
    """A range of whole numbers, both ends included; an end that is null is open."""

    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.min is None and self.max is None:
            raise ValueError('give "min", "max" or both')
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: no pair can lie between")
        return self


class Quota(Strict):
    """How many pairs of one group a dataset holds. Surplus pairs are left out by chance; a lack fails the dataset."""

    at_least: int | None = Field(None, ge=1)
    at_most: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Quota:
        if self.at_least is None and self.at_most is None:
            raise ValueError('give "at_least", "at_most" or both')
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is above at_most {self.at_most}")
        return self


class Quotas(Strict):
    """Quotas by type, and of step pairs by error kind and form."""

    type: dict[PairType, Quota] = Field(default_factory=dict)
    kind: dict[str, Quota] = Field(default_factory=dict, max_length=100)
    form: dict[FormName, Quota] = Field(default_factory=dict)

    def named(self) -> list[tuple[Literal["type", "kind", "form"], str, Quota]]:
        """Every quota with what it is a quota of."""
        given: list[tuple[Literal["type", "kind", "form"], Mapping[Any, Quota]]]
        given = [("type", self.type), ("kind", self.kind), ("form", self.form)]
        return [(by, name, quota) for by, groups in given for name, quota in groups.items()]


class MixedDataset(Strict):
    """A finished dataset whose pairs go into another one. ``weight``: see ``job_weights``."""

    id: str = Field(min_length=1, max_length=100)
    weight: Weight | None = None


class DatasetFilters(Strict):
    """Which pairs are frozen. Every filter that is given must hold; null lets all pass.

    Full pairs have no error kind, form, editor, evidence, distance or step: the filters of these are asked of step
    pairs alone, and ``types`` decides whether full pairs are frozen at all.
    """

    types: list[PairType] = Field(["step", "full"], min_length=1, max_length=2)
    kinds: Values | None = Field(None, description="Step pairs of these error kinds only; null: all.")
    forms: list[FormName] | None = Field(None, min_length=1, description="Step pairs of these forms only.")
    editors: list[EditorName] | None = Field(None, min_length=1, description="Step pairs edited by these only.")
    evidence: list[EvidenceKind] | None = Field(None, min_length=1, description="Step pairs with these proofs only.")
    require_evidence: bool = Field(False, description="Step pairs with proof only (full pairs rest on two verdicts).")
    distance: Bounds | None = Field(None, description="Step pairs whose edit changes so many characters.")
    step_index: Bounds | None = Field(None, description="Step pairs of these steps, counted from 0.")
    sources: Values | None = Field(None, description="Pairs of solutions by these sources only.")
    language_models: Values | None = Field(None, description="Pairs whose rejected side these models wrote only.")
    subjects: Values | None = Field(None, description="Pairs of problems of these subjects only.")
    levels: Values | None = Field(None, description="Pairs of problems of these levels only.")
    language: Literal["english", "other"] | None = Field(
        None, description="By the words of question and solution, whether they are English."
    )
    reviews: Literal["accepted", "not_rejected"] | None = Field(
        None, description="Pairs that a person accepted, or that nobody rejected."
    )

    @field_validator(
        "types", "kinds", "forms", "editors", "evidence", "sources", "language_models", "subjects", "levels"
    )
    @classmethod
    def _once(cls, value: list[str] | None) -> list[str] | None:
        return _each_once(value)

    @model_validator(mode="after")
    def _about_steps(self) -> DatasetFilters:
        for name in ("kinds", "forms", "editors", "evidence", "distance", "step_index"):
            if getattr(self, name) is not None and "step" not in self.types:
                raise ValueError(f"{name}: only step pairs have such a value, and 'types' leaves them out")
        if self.require_evidence and self.evidence is not None and EvidenceKind.UNPROVEN in self.evidence:
            raise ValueError("evidence: 'require_evidence' leaves out unproven pairs; drop one of the two")
        return self


class DatasetConfig(DatasetFilters):
    """One dataset, fully resolved: stored with it and printed on its card.

    Pairs are drawn in this order: filters, ``step_pairs_per_problem``, ``quotas`` (at most), ``balance``, weights,
    ``max_pairs``; then ``quotas`` (at least) are checked. Every draw depends on ``seed`` and on what is drawn alone.
    """

    jobs: list[str] = Field(default_factory=list, max_length=100, description="Injection jobs whose pairs are frozen.")
    datasets: list[MixedDataset] = Field(
        default_factory=list, max_length=100, description="Finished datasets whose pairs are frozen again."
    )
    job_weights: dict[str, Weight] | None = Field(
        None,
        max_length=100,
        description="Shares of the jobs in the dataset, by job; 1 where not given. With any weight, pairs are left out"
        " by chance until the shares hold; without, all are taken. No pair is repeated.",
    )
    split: SplitConfig = SplitConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1)
    step_pairs_per_problem: int | None = Field(
        None, ge=1, description="Step pairs of one problem at most; error kinds take turns. Null: all."
    )
    quotas: Quotas = Quotas()
    balance: Literal["kind", "form"] | None = Field(
        None, description="As many step pairs of each error kind, or form, as the rarest one has."
    )
    max_pairs: int | None = Field(None, ge=1, description="Pairs at most, drawn by chance. Null: all.")
    shapes: list[ShapeName] | None = Field(
        None,
        max_length=20,
        description="Besides `steps_and_full`, which is always written. Null: chosen by the solver's model,"
        " conversational where it has a chat template or solutions were brought along. GET /v1/dataset-shapes has all.",
    )
    whole_right_answers: bool = Field(
        False,
        description="In the shapes `whole*`, also step pairs whose rejected side has a wrong step and comes to the"
        " right answer all the same. For trainers that compare both sides of a pair (DPO, ORPO), not for KTO.",
    )
    gates: GatesConfig = Field(GatesConfig(), description="What the dataset is checked for, and what that does.")

    @field_validator("jobs", "shapes")
    @classmethod
    def _listed_once(cls, value: list[str] | None) -> list[str] | None:
        return _each_once(value)

    @model_validator(mode="after")
    def _consistent(self) -> DatasetConfig:
        if not self.jobs and not self.datasets:
            raise ValueError("jobs: name at least one injection job, or a dataset in 'datasets'")
        if len({mixed.id for mixed in self.datasets}) != len(self.datasets):
            raise ValueError("datasets: each may occur once")
        for job_id in self.job_weights or {}:
            if job_id not in self.jobs:
                raise ValueError(f"job_weights: {job_id} is none of the dataset's jobs; drop it or add it to them")
        return self

    @property
    def weighted(self) -> bool:
        """Whether any source has a weight."""
        return bool(self.job_weights) or any(mixed.weight is not None for mixed in self.datasets)

    @property
    def weights(self) -> list[float]:
        """The weights of the jobs and then of the datasets."""
        of_jobs = self.job_weights or {}
        return [*(of_jobs.get(job_id, 1.0) for job_id in self.jobs), *(mixed.weight or 1.0 for mixed in self.datasets)]

    @property
    def draws(self) -> bool:
        """Whether pairs that pass the filters may be left out, or are to be counted before they are taken."""
        drawn = (self.step_pairs_per_problem, self.balance, self.max_pairs, self.language)
        return self.weighted or any(value is not None for value in drawn) or bool(self.quotas.named())


def _each_once(value: list[str] | None) -> list[str] | None:
    if value is not None and len(set(value)) != len(value):
        raise ValueError("each value may occur once")
    return value


class EvaluationConfig(SolvePromptConfig):
    """Prompt, decoding and reading of one evaluation. Any two evaluations of the same problems can be compared."""

    method: Literal["sample", "score"] = Field(
        "sample",
        description="sample: answers are generated and judged. score: the probability that the model writes each"
        " equation and the answer of the solution that the problem set brings; no sampling noise (ours).",
    )
    temperature: Temperature = Field(0.0, description="0 is greedy (the paper's evaluations).")
    temperatures: tuple[Temperature, ...] | None = Field(
        None, min_length=1, max_length=8, description="Several in one evaluation, in place of `temperature`."
    )
    top_p: Probability = 1.0
    samples: int = Field(
        1, ge=1, le=256, description="Answers per problem and temperature above 0; above 1 pass@k and maj@k are told."
    )
    entropy: bool = Field(
        False, description="Also score each sampled answer: its negative log-probability, in nats (ours)."
    )
    max_tokens: int = Field(1024, ge=1, le=32768)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    limit: int | None = Field(None, ge=1, description="Evaluate the first problems of the set only.")
    cache: bool = Field(
        True, description="Take answers that the workspace has from the same requests made earlier, and keep new ones."
    )
    thoughts: ThoughtMarkers = ThoughtMarkers()

    @model_validator(mode="after")
    def _consistent(self) -> EvaluationConfig:
        if len(set(self.at)) != len(self.at):
            raise ValueError("temperatures: each may occur once")
        if self.temperatures is not None and self.temperature not in (0.0, self.temperatures[0]):
            raise ValueError("temperature: leave it out where `temperatures` is given")
        if self.method == "score":
            self._scores()
        elif self.samples > 1 and not any(self.at):
            raise ValueError(
                "samples: at temperature 0 every answer is the same; ask for one, or raise the temperature"
            )
        return self

    def _scores(self) -> None:
        if self.samples > 1 or self.entropy:
            raise ValueError("samples: scoring draws none; leave out `samples` and `entropy`, or set method 'sample'")
        if self.top_p != 1.0:
            raise ValueError("top_p: scoring takes the whole distribution; leave it out")

    @property
    def at(self) -> tuple[float, ...]:
        """The temperatures of the evaluation, in the order asked for."""
        return self.temperatures or (self.temperature,)

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What is drawn per problem: one answer at temperature 0, ``samples`` at every other."""
        found: list[Draw] = []
        for temperature in self.at:
            first = found[-1].first + found[-1].count if found else 0
            found.append(Draw(temperature, first, self.samples if temperature else 1))
        return tuple(found)

    def problem_count(self, available: int) -> int:
        """How many of a set's problems are evaluated."""
        return available if self.limit is None else min(self.limit, available)


@dataclass(frozen=True, slots=True)
class Draw:
    """The answers of a problem at one temperature: ``count`` of them, whose numbers begin with ``first``."""

    temperature: float
    first: int
    count: int
