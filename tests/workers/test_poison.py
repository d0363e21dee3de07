"""A problem that the method raises for: it alone is set aside, in whatever stage, and the funnel still adds up."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from errata.funnel import Funnel
from errata.output_config import EvaluationConfig
from models.jobs import EditRow, InjectionJob, PairRow, ProblemError, ProblemOutcome, Shard, SolutionRow
from models.outputs import Evaluation, Event
from models.states import JobState, ShardState
from models.workspaces import DEFAULT_WORKSPACE
from tests.workers.injection_jobs import PROBLEMS, RIGHT, Posted, post_job, run_shards, sums
from tests.workers.scripted import MODEL, Scripted
from tests.workers.test_continuations import ANY_KIND, WHOLE_STEPS, Propagating, continued
from workers.engines.base import EngineError, GenerationRequest
from workers.lifecycle import missing_positions, plan_evaluation, plan_retry
from workers.runner import Services, run_shard
from workers.stages import continuations, evaluate, grade, pair, prove, sample, thinking
from workers.stages.editing import draft, rules, stage, words
from workers.stages.isolation import ProblemErrors, TooManyProblemErrors, bearable

POISON = "prob_3"
_TELLS = re.compile(r"6 pens at 4 dollars and pays 8|6 \* 4 \+ 8|99 - 32")
_QUESTION = re.compile(r"buys (\d+) pens at (\d+) dollars and pays (\d+)")


class Fault(Exception):
    """A bug of the program."""


def poison(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: BaseException | None = None) -> None:
    """The function raises wherever its arguments speak of the one problem."""
    whole = getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if _TELLS.search(repr((args, kwargs))):
            raise error or Fault(f"{name} \x00 \ud800")
        return whole(*args, **kwargs)

    monkeypatch.setattr(module, name, call)


class Solver(Scripted):
    """Solves each problem rightly, behind a thought."""

    def __init__(self) -> None:
        super().__init__(self._solved)

    def _solved(self, request: GenerationRequest) -> str:
        found = _QUESTION.search(request.prompt.messages[-1].content)
        assert found
        a, b, c = (int(group) for group in found.groups())
        d = a * b + c
        return "<think>So.</think>\n" + RIGHT.format(a=a, b=b, c=c, d=d, e=99 - d)


def check_set_aside(services: Services, at: str, name: str, total: int = PROBLEMS) -> None:
    """Of all problems one is in error, at the stage; the rest has its pairs; rows and funnel agree and add up."""
    with services.db.read() as session:
        job = session.get_one(InjectionJob, "inj")
        [error] = session.scalars(select(ProblemError)).all()
        outcomes = {row.problem_id: (row.outcome, row.reason) for row in session.scalars(select(ProblemOutcome))}
        pairs, edits = (session.scalars(select(table)).all() for table in (PairRow, EditRow))
        shards = session.scalars(select(Shard)).all()
        told = session.scalars(select(Event.data).where(Event.type == "problem_failed")).all()
        solutions = session.scalars(select(SolutionRow).where(SolutionRow.problem_id == POISON)).all()
    assert (job.state, job.partial) == (JobState.SUCCEEDED, True)
    assert name in str(job.error)
    assert (error.problem_id, error.stage, error.type) == (POISON, at, "Fault")
    assert name in error.message
    assert "Traceback" in error.trace
    assert "test_poison.py" in error.trace
    assert [data["problem"] for data in told] == [POISON]
    assert outcomes.pop(POISON) == ("dropped", "error")
    assert set(outcomes.values()) == {("kept", None)}
    assert len(outcomes) == total - 1
    assert POISON not in {row.problem_id for row in pairs}
    assert len({row.problem_id for row in pairs}) == total - 1
    assert {shard.state for shard in shards} == {ShardState.DONE}
    assert {shard.failures for shard in shards} == {0}
    funnel = Funnel.from_dict(job.funnel or {})
    funnel.check()
    counts = funnel.counts
    assert (counts["problems"]["total"], counts["problems"]["dropped"]) == (total, {"error": 1})
    assert (counts["edits"]["total"], counts["pairs"]["total"]) == (len(edits), len(pairs))
    assert counts["edits"]["rejected"].get("error", 0) == sum(edit.reason == "error" for edit in edits)
    assert all(solution.verdict for solution in solutions)


BROUGHT = {
    "select": (grade, "select", "grade"),
    "plan": (grade, "plan_edits", "grade"),
    "drafts": (stage, "drafts_of", "edit"),
    "rule": (rules, "rule_edit", "edit"),
    "screen": (draft, "screen", "edit"),
    "early check": (draft, "reason_against", "edit"),
    "whether to continue": (stage, "needs_continuations", "edit"),
    "replay": (prove, "replay", "prove"),
    "proof": (prove, "prove_edit", "prove"),
    "choice": (pair, "derive_seed", "pair"),
    "step pair": (pair, "step_pair", "pair"),
}


@pytest.mark.parametrize(("module", "name", "at"), BROUGHT.values(), ids=BROUGHT.keys())
def test_a_poison_problem_is_set_aside_alone(
    services: Services, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: str
) -> None:
    poison(monkeypatch, module, name)
    editing = {"form": {"stands": 0.5, "consistent": 0.5}}
    post_job(services, "rules", editing=editing)
    run_shards(services)
    check_set_aside(services, at, name)


SAMPLED = {
    "prompt": (sample, "solve_prompt", "sample"),
    "wave": (sample, "next_wave", "sample"),
    "thoughts": (thinking, "without_thoughts", "sample"),
}


@pytest.mark.parametrize(("module", "name", "at"), SAMPLED.values(), ids=SAMPLED.keys())
def test_so_it_is_where_a_model_is_asked_for_solutions(
    services: Services, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: str
) -> None:
    services.engines = Solver()
    poison(monkeypatch, module, name)
    sampling = {"source": "model", "samples": 2, "temperature": 0.7, "adaptive": True}
    post_job(
        services, "rules", [Posted(p.question, p.gold, []) for p in sums()], model=MODEL,
        sampling=sampling, thoughts={"keep": False}, pairs={"full": False},
    )  # fmt: skip
    run_shards(services)
    check_set_aside(services, at, name)


WRITTEN = {
    "edit prompt": (words, "edit_prompt", "edit"),
    "reply": (words, "parse_reply", "edit"),
    "continuation": (continuations, "solve_prompt", "continue"),
    "need": (continuations, "needs_continuations", "continue"),
    "proof": (prove, "prove_edit", "prove"),
}


@pytest.mark.parametrize(("module", "name", "at"), WRITTEN.values(), ids=WRITTEN.keys())
def test_so_it_is_where_a_model_edits_and_continues(
    services: Services, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: str
) -> None:
    services.engines = Propagating()
    poison(monkeypatch, module, name)
    post_job(services, "errata", model=MODEL, proof=continued(), editing=WHOLE_STEPS, screening=ANY_KIND)
    run_shards(services)
    check_set_aside(services, at, name)


def test_two_poison_problems_fail_their_shard_and_its_error_is_kept(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prove.prove_edit

    def raise_for_two(original: str, *args: Any, **kwargs: Any) -> Any:
        if re.search(r"\+ (5|6) =", original):
            raise Fault(original)
        return whole(original, *args, **kwargs)

    monkeypatch.setattr(prove, "prove_edit", raise_for_two)
    services.settings = services.settings.model_copy(update={"failure_backoff_seconds": 0.0})
    post_job(services, "rules", editing={"form": {"stands": 1.0}})
    for _ in range(3):
        run_shards(services)
    with services.db.read() as session:
        shards = session.scalars(select(Shard).order_by(Shard.position)).all()
        job = session.get_one(InjectionJob, "inj")
        assert not session.scalars(select(ProblemError)).all()
    assert [shard.state for shard in shards] == [ShardState.QUARANTINED, ShardState.DONE, ShardState.DONE]
    assert "2 of 5 problems raised errors" in str(shards[0].error)
    assert "Fault" in str(shards[0].error)
    assert (job.state, job.partial) == (JobState.SUCCEEDED, True)


@pytest.mark.parametrize(
    ("min_yield", "state"), [(0.0, JobState.SUCCEEDED), (0.9, JobState.SUCCEEDED), (0.95, JobState.FAILED)]
)
def test_such_problems_count_against_min_yield(
    services: Services, monkeypatch: pytest.MonkeyPatch, min_yield: float, state: JobState
) -> None:
    poison(monkeypatch, prove, "prove_edit")
    post_job(services, "rules", min_yield=min_yield, shard_size=1)
    run_shards(services)
    with services.db.read() as session:
        assert session.get_one(InjectionJob, "inj").state == state


def test_a_job_whose_every_problem_is_in_error_fails(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise Fault("always")

    monkeypatch.setattr(grade, "plan_edits", broken)
    post_job(services, "rules", shard_size=1)
    run_shards(services)
    with services.db.read() as session:
        job = session.get_one(InjectionJob, "inj")
    assert (job.state, job.partial) == (JobState.FAILED, False)
    assert f"{PROBLEMS} problems raised errors" in str(job.error)
    Funnel.from_dict(job.funnel or {}).check()


@pytest.mark.parametrize(
    "error", [MemoryError(), EngineError("away"), OperationalError("", {}, Exception()), OSError(28, "disk full")]
)
def test_what_says_something_of_the_process_sets_no_problem_aside(error: Exception) -> None:
    errors = ProblemErrors(100)
    with pytest.raises(type(error)), errors.of(POISON):
        raise error
    assert POISON not in errors


def test_a_shard_bears_one_problem_and_a_twentieth() -> None:
    assert [bearable(size) for size in (1, 2, 10, 39, 40, 128, 1024)] == [1, 1, 1, 1, 2, 6, 51]
    errors = ProblemErrors(10, frozenset({"earlier"}))
    with pytest.raises(TooManyProblemErrors, match=r"2 of 10 problems.*Fault"), errors.of("later"):
        raise Fault
    again = ProblemErrors(10, frozenset())
    for _ in range(3):  # one problem may raise in each of its steps
        with again.of(POISON):
            raise Fault
    assert POISON in again


def test_an_evaluation_goes_on_without_a_poison_problem(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    services.engines = Solver()
    post_job(services, "rules", model=MODEL)
    with services.db.begin() as session:
        ids = {"workspace_id": DEFAULT_WORKSPACE, "problem_set_id": "pset", "language_model_id": "model"}
        config = EvaluationConfig().model_dump(mode="json")
        row = Evaluation(id="eval", **ids, config=config)
        session.add(row)
        hints = plan_evaluation(session, row, PROBLEMS)
    poison(monkeypatch, evaluate, "solve_prompt")
    while run_shard(services, hints[0].shard_id) == "advanced":
        pass
    with services.db.read() as session:
        ended = session.get_one(Evaluation, "eval")
        [error] = session.scalars(select(ProblemError)).all()
    assert (ended.state, ended.partial, error.stage, error.problem_id) == (JobState.SUCCEEDED, True, "answer", POISON)
    assert (ended.result or {})["problems"] == PROBLEMS - 1


def test_a_retry_makes_the_pairs_that_an_error_cost(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    editing = {"form": {"stands": 1.0}}
    with monkeypatch.context() as fault:
        poison(fault, prove, "prove_edit")
        post_job(services, "rules", editing=editing)
        run_shards(services)
    with services.db.begin() as session:
        old = session.get_one(InjectionJob, "inj")
        positions = missing_positions(session, old)
        new, _ = plan_retry(session, old, positions)
    assert positions == [3]
    run_shards(services)
    with services.db.read() as session:
        job = session.get_one(InjectionJob, new.id)
        pairs = session.scalars(select(PairRow)).all()
    assert (job.state, job.partial, job.retry_of) == (JobState.SUCCEEDED, False, "inj")
    assert {pair.problem_id for pair in pairs if pair.job_id == new.id} == {POISON}
    assert {pair.problem_id for pair in pairs} == {f"prob_{at}" for at in range(PROBLEMS)}
    assert len({pair.pair_key for pair in pairs}) == len(pairs), "no pair twice"
