"""What the service answers, typed. Fields of newer services are kept and reachable, not refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from errata_client.progress import Progress, Record


class BadRow(Record):
    """Rows that were not taken, all for one reason: the first line (from 1), how many, and the first ten lines."""

    line: int
    reason: str
    count: int = 1
    lines: list[int] = Field(default_factory=list)


class RowNote(Record):
    """Something to know about rows that were taken; otherwise as BadRow."""

    line: int
    note: str
    count: int = 1
    lines: list[int] = Field(default_factory=list)


class ProblemSet(Record):
    """A set of problems of one domain."""

    tags: list[str] = Field(default_factory=list)
    id: str
    name: str
    domain: str
    problem_count: int
    content_sha256: str
    license: str | None = None
    source_url: str | None = None
    rejected: list[BadRow]
    rejected_count: int | None = None
    notes: list[RowNote] = Field(default_factory=list)
    created_at: datetime


class BroughtSolutions(Record):
    """What became of brought solutions: received = added + existing + rejected_count."""

    problem_set: str
    received: int
    added: int
    existing: int
    rejected_count: int
    rejected: list[BadRow]


class Job(Record):
    """What injection jobs, datasets, training jobs and evaluations share."""

    id: str
    state: str
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def succeeded(self) -> bool:
        """Whether it ended well (see ``partial`` where there is one)."""
        return self.state == "succeeded"

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1."""
        return 1.0 if self.ended else 0.0


class ShardedJob(Job):
    """A job that is cut into shards: every kind but training jobs."""

    progress: Progress

    @property
    def fraction(self) -> float:
        """Share of all stages of all shards that has ended; an estimate's are its pilot's."""
        return self.progress.fraction


class InjectionJob(ShardedJob):
    """Problems in, pairs out. ``config`` is complete; ``funnel`` accounts for every input.

    ``advice`` says why an ended job gave no pairs or few, and what to try.
    """

    tags: list[str] = Field(default_factory=list)
    name: str | None
    partial: bool
    problem_set: str
    language_model: str | None
    preset: str
    config: dict[str, Any]
    prompt_versions: dict[str, Any] = Field(default_factory=dict)
    funnel: dict[str, Any] | None = None
    advice: str | None = None
    quarantined: list[dict[str, Any]] | None = None
    retry_of: str | None = None
    stopped: str | None = None
    priority: str = "normal"
    spent: dict[str, Any] | None = None
    extends: str | None = None
    extension: dict[str, Any] | None = None
    extended_by: list[dict[str, Any]] = Field(default_factory=list)
    paused_at: datetime | None = None


class Interval(Record):
    """A forecast with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Forecast(Record):
    """Totals of a whole injection job; ``seconds`` is the work of one worker, one shard after the other."""

    problems: int
    pairs: Interval
    pairs_by_type: dict[str, Interval]
    tokens: Interval
    tokens_by_stage: dict[str, dict[str, Interval]]
    tokens_per_pair: float | None
    seconds: Interval
    stop: dict[str, Any] | None = None


class Estimate(ShardedJob):
    """What an injection job would make and cost; ``forecast`` and what follows are there once its pilot has succeeded.

    ``suggested_config`` can be posted as the job's configuration, with the same preset.
    """

    problem_set: str
    language_model: str | None
    preset: str
    config: dict[str, Any]
    pilot: dict[str, Any]
    forecast: Forecast | None
    editors: list[dict[str, Any]] | None
    suggested_config: dict[str, Any] | None
    suggestion: str | None


class Pair(Record):
    """One preference pair: the prompt is question and prefix; chosen and rejected differ in the error."""

    id: str
    job: str
    problem: str
    external_id: str | None = None
    gold_answer: str | None = None
    review: Literal["accepted", "rejected"] | None = None
    type: Literal["step", "full"]
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None
    error_kind: str | None
    form: str | None
    editor: str | None
    evidence_kind: str | None
    evidence: dict[str, Any] | None
    source: str
    error_rate: float | None = None


class Solution(Record):
    """One sample or brought solution with its verdict; ``label`` is the sender's."""

    id: str
    job: str
    problem: str
    sample_index: int
    source: str
    text: str
    label: bool | None
    verdict: str | None
    role: str | None
    reason: str | None


class Dataset(ShardedJob):
    """Pairs frozen to files; immutable once succeeded."""

    tags: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    name: str
    partial: bool
    jobs: list[str]
    config: dict[str, Any]
    imported: dict[str, Any] | None = None
    manifest: dict[str, Any] | None
    sha256: str | None


class DatasetFile(Record):
    """One file of a dataset."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None
    url: str


class TrainingJob(Job):
    """A training run; ``language_model`` names its result once there is one."""

    tags: list[str] = Field(default_factory=list)
    dataset: str
    base_model: str
    output_name: str
    language_model: str | None
    config: dict[str, Any]
    hosts: int = 1
    step: int
    total_steps: int | None
    eta_seconds: float | None = None
    summary: dict[str, Any] | None = None
    from_run: str | None = None
    from_step: int | None = None
    last_step: int | None = None

    @property
    def fraction(self) -> float:
        """Optimizer steps done, as a share."""
        return 1.0 if self.ended else self.step / self.total_steps if self.total_steps else 0.0


class TrainingPreview(Record):
    """What a training job would train on; ``refused`` says why it would fail. What is not known is None."""

    refused: str | None
    config: dict[str, Any]
    rows: int | None
    examined: int | None
    report: dict[str, int] | None
    examples: list[dict[str, Any]]
    steps: int | None
    tokens: dict[str, float] | None
    parameters: int | None
    memory_bytes: int | None
    disk_bytes: int | None
    seconds: dict[str, float] | None


class Metric(Record):
    """The metrics of one optimizer step."""

    step: int
    phase: str
    values: dict[str, Any]


class Checkpoint(Record):
    """A checkpoint of a training run."""

    id: str
    step: int
    state: str
    size_bytes: int
    score: float | None = None


class Evaluation(ShardedJob):
    """A language model's answers to a problem set; ``result`` has ``accuracy`` and its 95 % ``interval``."""

    tags: list[str] = Field(default_factory=list)
    name: str | None
    partial: bool
    problem_set: str
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None


class Side(Record):
    """One side of a comparison, with the accuracy of its whole evaluation and that one's 95 % interval."""

    evaluation: str
    language_model: str
    config: dict[str, Any]
    accuracy: float | None
    interval: tuple[float, float] | None


class TemperatureDifference(Record):
    """The difference at one temperature that both evaluations have, paired; otherwise as Comparison."""

    temperature: float
    delta: float
    interval: tuple[float, float]
    p_value: float
    problems: int
    gained: int
    lost: int


class Comparison(Record):
    """Two evaluations compared problem by problem; ``delta`` is after minus before, paired.

    The figures are those of each side's first temperature; ``temperatures`` has all that both sides have.
    """

    before: Side
    after: Side
    delta: float
    interval: tuple[float, float]
    p_value: float
    problems: int
    gained: int
    lost: int = Field(description="Negative flips.")
    same_config: bool = True
    temperatures: list[TemperatureDifference] = Field(default_factory=list)


class Rejudging(ShardedJob):
    """An injection job's samples judged by today's verifier; ``result`` counts what differs."""

    injection_job: str
    verifier: str
    result: dict[str, Any] | None


class Event(Record):
    """Something that happened to a job, in order of ``id``."""

    id: int
    subject: str
    type: str
    data: dict[str, Any]
    created_at: datetime
    sentence: str = ""


class LanguageModel(Record):
    """A name from the registry; ``id`` is the name."""

    tags: list[str] = Field(default_factory=list)
    id: str
    engine: str
    owned_by: str
    base_model: str | None = None
    training_job: str | None = None


class Preset(Record):
    """A preset of injection jobs as the complete configuration it stands for."""

    name: str
    config: dict[str, Any]
