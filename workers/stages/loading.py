"""What stages share: reading a shard's job, problems, solutions and edits, and having texts judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from errata.answers import Judgement
from errata.config import InjectionConfig
from errata.kinds import kinds_of
from errata.stopping import StopConfig
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain, Problem
from models.jobs import EditRow, InjectionJob, ProblemError, SolutionRow
from models.leases import Lease
from models.states import Stage
from models.workspaces import LanguageModel, ProblemRow, ProblemSet
from workers.engines.base import Cancelled, Completion, EngineError, ModelSpec
from workers.engines.entry_settings import PRICED
from workers.judge import JudgeItem
from workers.stages.base import StageContext
from workers.stages.known_jobs import known_job

_AFTER_EDIT = frozenset({Stage.CONTINUE, Stage.PROVE, Stage.PAIR})
_NO_MODEL = "the job's language model is no longer registered"
VERDICT_COLUMNS = ("verdict", "extracted", "verifier", "verdict_seconds")


@dataclass(frozen=True)
class Job:
    """An injection job as its stages see it; ``model`` is None where the configuration needs none.

    ``editor`` is the model that edits: ``model``, or another where the configuration names one. ``extends``: the job
    that this one adds to; ``takes_over``: it edits further steps of that one's solutions. ``stopped``: the limit that
    was reached when the job was read.
    """

    id: str
    workspace_id: str
    problem_set_id: str
    config: InjectionConfig
    domain: Domain
    model: ModelSpec | None
    editor: ModelSpec | None = None
    extends: str | None = None
    takes_over: bool = False
    stopped: str | None = None


@dataclass(frozen=True)
class ShardRows:
    """What a stage of an injection job works on. Problems and solutions are keyed by id.

    Problems are in order of position, solutions by problem and sample. ``edits`` holds those that were not rejected, by
    solution and step; it is empty before stage ``continue``.
    """

    job: Job
    problems: dict[str, ProblemRow]
    solutions: dict[str, SolutionRow]
    edits: Sequence[EditRow]


def load_job(session: Session, lease: Lease) -> Job:
    """The job a leased shard belongs to. What may change while it runs is read anew, in one statement."""
    changing = (InjectionJob.config["stop"].label("stop"), InjectionJob.stopped)
    models = (LanguageModel.name, LanguageModel.engine, LanguageModel.config)
    query = select(*changing, *models).outerjoin(LanguageModel, LanguageModel.id == InjectionJob.language_model_id)
    row = session.execute(query.where(InjectionJob.id == lease.owner_id)).one()
    known = known_job(session, lease.owner_id)
    _check_kinds(known.prompt_versions, known.domain)
    config = known.config.model_copy(update={"stop": StopConfig.model_validate(row.stop or {})})
    model = None
    if config.needs_model:
        if row.name is None:
            raise EngineError(_NO_MODEL)
        model = ModelSpec(row.name, row.engine, dict(row.config))
    name = config.editing.editor_model
    editor = model if name is None else _named_spec(session, name, known.workspace_id)
    named = (lease.owner_id, known.workspace_id, known.problem_set_id, config, known.domain, model, editor)
    return Job(*named, known.extends, known.takes_over, row.stopped)


def _check_kinds(versions: Mapping[str, str], domain: Domain) -> None:
    """Raises ValueError where an operator's kind is not what it was when the job was accepted."""
    known = kinds_of(domain)
    for name, version in versions.items():
        kind = name.removeprefix("kind:")
        if kind != name and (kind not in known or known[kind].version != version):
            raise ValueError(
                f"the operator's kind '{kind}' is not the one that the job was accepted with:"
                " put it back into ERRATA_KINDS_FILE and retry, or post the job anew"
            )


def _named_spec(session: Session, name: str, workspace_id: str) -> ModelSpec:
    """The engine's view of a model by its name, a workspace's own before an operator's. Raises EngineError."""
    visible = or_(LanguageModel.workspace_id == workspace_id, LanguageModel.workspace_id.is_(None))
    rows = session.scalars(select(LanguageModel).where(LanguageModel.name == name, visible)).all()
    row = min(rows, key=lambda found: found.workspace_id != workspace_id, default=None)
    return load_spec(session, row.id if row else None)


def load_spec(session: Session, model_id: str | None) -> ModelSpec:
    """The engine's view of a registered language model. Raises EngineError when it is gone."""
    row = session.get(LanguageModel, model_id) if model_id else None
    if row is None:
        raise EngineError(_NO_MODEL)
    # Without its prices: a model whose price changed is not loaded anew.
    return ModelSpec(row.name, row.engine, {name: value for name, value in row.config.items() if name not in PRICED})


def load_domain(session: Session, problem_set_id: str) -> Domain:
    """The domain of a problem set."""
    return Domain(session.get_one(ProblemSet, problem_set_id).domain)


def load_problems(session: Session, problem_set_id: str, lease: Lease) -> Sequence[ProblemRow]:
    """The problems of a shard, in order."""
    return session.scalars(_problems(problem_set_id, lease)).all()


def _problems(problem_set_id: str, lease: Lease) -> Select[Any]:
    if lease.positions is None:
        wanted = and_(ProblemRow.position >= lease.start, ProblemRow.position < lease.stop)
    else:
        wanted = ProblemRow.position.in_(lease.positions[lease.start : lease.stop])
    query = select(ProblemRow).where(ProblemRow.problem_set_id == problem_set_id, wanted)
    return query.order_by(ProblemRow.position)


def load_rows(context: StageContext) -> ShardRows:
    """The job and rows of the leased shard, without problems that earlier stages set aside."""
    lease = context.lease
    solutions = select(SolutionRow).where(SolutionRow.shard_id == lease.shard_id)
    edits = select(EditRow).where(EditRow.shard_id == lease.shard_id, EditRow.reason.is_(None))
    failed = and_(ProblemError.problem_id == ProblemRow.id, ProblemError.shard_id == lease.shard_id)
    # Without a transaction: what these rows hold only the stages of this shard change.
    with context.db.look() as session:
        job = load_job(session, lease)
        query = _problems(job.problem_set_id, lease).outerjoin(ProblemError, failed)
        told = session.execute(query.add_columns(ProblemError.problem_id)).all()
        found = session.scalars(solutions.order_by(SolutionRow.problem_id, SolutionRow.sample_index)).all()
        ordered = edits.order_by(EditRow.solution_id, EditRow.step_index, EditRow.kind)
        # A stage before the edits saves the query.
        candidates = session.scalars(ordered).all() if lease.stage in _AFTER_EDIT else ()
    earlier = frozenset(failed_id for _, failed_id in told if failed_id is not None)
    context.errors.expect(len(told), earlier)
    return ShardRows(
        job,
        {row.id: row for row, failed_id in told if failed_id is None},
        {row.id: row for row in found if row.problem_id not in earlier},
        [row for row in candidates if row.problem_id not in earlier],
    )


def judge_texts(
    context: StageContext, domain: Domain, texts: Iterable[tuple[ProblemRow, str]], thoughts: Markers = THOUGHTS
) -> list[Judgement]:
    """One judgement per text, in order, each compared with the gold answer of its problem.

    No answer is read from thoughts, which stand between the markers ``thoughts``.
    Raises Cancelled where the pool stopped early because it was told to.
    """
    items = [JudgeItem(as_problem(problem), text, domain, thoughts) for problem, text in texts]
    judgements = context.judge.judge_many(items, context.cancelled)
    if len(judgements) < len(items):
        raise Cancelled
    return judgements


def verdict_columns(judgement: Judgement) -> dict[str, Any]:
    """A judgement as the columns that a sample keeps of it."""
    values = (str(judgement.verdict), judgement.extracted, judgement.verifier, judgement.seconds)
    return dict(zip(VERDICT_COLUMNS, values, strict=True))


def completion_columns(completion: Completion) -> dict[str, Any]:
    """A completion as the columns that a sample keeps of it, without its text."""
    return {
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }


def as_problem(row: ProblemRow) -> Problem:
    """The method's view of a problem row."""
    return Problem(row.question, row.gold_answer, row.gold_solution, row.subject, dict(row.meta))
