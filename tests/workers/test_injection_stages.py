"""The real stages on brought solutions, from samples to pairs: no language model, the real judge, SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from errata.funnel import Funnel
from errata.presets import resolve
from models.accounts import DEFAULT_WORKSPACE, Workspace
from models.jobs import EditRow, InjectionJob, PairRow, Shard
from models.problems import BroughtSolution, ProblemRow, ProblemSet
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.planning import Hint, plan_injection
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages.table import STAGES

RIGHT = "Step 1: Pay {a} * {b} + {c} = {d}.\nStep 2: So 99 - {d} = {e} left.\nStep 3: The answer is \\boxed{{{e}}}."
WRONG = "Step 1: Pay {a} + {b} + {c} = {f}.\nStep 2: So 99 - {f} = {g} left.\nStep 3: The answer is \\boxed{{{g}}}."
PROBLEMS = 12


class _Deaf(Dispatcher):
    """Shards are run by hand here: nobody waits for hints."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        return 0


def _numbers(at: int) -> dict[str, int]:
    a, b, c = 3 + at % 5, 4 + at % 3, 5 + at
    d, f = a * b + c, a + b + c
    return {"a": a, "b": b, "c": c, "d": d, "e": 99 - d, "f": f, "g": 99 - f}


@pytest.fixture
def services(sqlite_database: Database, tmp_path: Path) -> Iterator[Services]:
    store = StoreSettings(ERRATA_HOME=tmp_path)
    with JudgePool(1) as judge:
        yield Services(sqlite_database, store, WorkerSettings(), _Deaf(), EnginePool(), judge, dict(STAGES))


def _run(services: Services, preset: str, **overrides: Any) -> Funnel:
    """Post the sums with their right and wrong solutions, run every shard to its end, and answer the job's funnel."""
    with services.db.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(
            ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="sums", domain="math", content_sha256="")
        )
        session.flush()
        for at in range(PROBLEMS):
            _add_problem(session, at)
        config = resolve(preset, {"sampling": {"source": "brought"}, "shard_size": 5, **overrides})
        job = InjectionJob(
            id="inj", workspace_id=DEFAULT_WORKSPACE, problem_set_id="pset", config=config.model_dump(mode="json")
        )
        session.add(job)
        plan_injection(session, job, PROBLEMS)
    with services.db.read() as session:
        shards = list(session.scalars(select(Shard.id).order_by(Shard.position)))
    for shard in shards:
        while run_shard(services, shard) == "advanced":
            pass
    funnel = Funnel()
    with services.db.read() as session:
        assert session.get_one(InjectionJob, "inj").state == JobState.SUCCEEDED
        for ledger in session.scalars(select(Shard.ledger)):
            funnel = funnel.merge(Funnel.from_dict(ledger["funnel"]))
    funnel.check()
    return funnel


def _add_problem(session: Any, at: int) -> None:
    numbers = _numbers(at)
    question = "She buys {a} pens at {b} dollars and pays {c} more. She had 99 dollars. What is left?".format(**numbers)
    session.add(
        ProblemRow(
            id=f"prob_{at}", problem_set_id="pset", position=at, question=question, gold_answer=str(numbers["e"])
        )
    )
    session.flush()
    for source, text in (("a", RIGHT), ("b", WRONG)):
        session.add(
            BroughtSolution(
                id=f"brought_{at}_{source}",
                problem_set_id="pset",
                problem_id=f"prob_{at}",
                source=source,
                text=text.format(**numbers),
            )
        )
    session.flush()


def _pairs(services: Services, kind: str = "step") -> list[PairRow]:
    with services.db.read() as session:
        return list(session.scalars(select(PairRow).where(PairRow.type == kind)))


def test_the_rules_preset_ends_in_proven_pairs(services: Services) -> None:
    funnel = _run(services, "rules")
    pairs = _pairs(services)
    assert len(pairs) >= PROBLEMS
    assert {pair.evidence_kind for pair in pairs} == {"contradiction"}
    assert len(_pairs(services, "full")) == PROBLEMS
    for pair in pairs:
        assert pair.chosen != pair.rejected
        assert pair.start == len(pair.prefix)
    assert funnel.counts["samples"]["verdicts"] == {"correct": PROBLEMS, "incorrect": PROBLEMS}
    assert "first_errors" not in funnel.counts["samples"]


def test_the_profile_of_the_wrong_samples_sets_the_mix(services: Services) -> None:
    """Every wrong sample writes + for *: the profile says so, and operators are drawn most."""
    funnel = _run(services, "rules", editing={"mix": "profile", "max_kind_share": 1.0}, shard_size=PROBLEMS)
    assert funnel.counts["samples"]["first_errors"] == {"operator": PROBLEMS, "unclassified": 0}
    drawn = {kind: counts["total"] for kind, counts in funnel.counts["edits"]["by_kind"].items()}
    assert drawn["operator"] > 2 * max(count for kind, count in drawn.items() if kind != "operator")


def test_the_profile_brings_back_no_kind_the_job_leaves_out(services: Services) -> None:
    mix = {"mix": "profile", "kinds": {"calculation": 1.0, "substitution": 1.0}, "max_kind_share": 1.0}
    funnel = _run(services, "rules", editing=mix)
    assert set(funnel.counts["edits"]["by_kind"]) <= {"calculation", "substitution"}
    assert _pairs(services)


def test_full_only_edits_nothing(services: Services) -> None:
    funnel = _run(services, "full-only")
    assert funnel.counts["edits"]["total"] == 0
    assert funnel.counts["pairs"]["by_type"] == {"full": PROBLEMS}


def test_random_tokens_are_kept_unproven_and_said_to_be(services: Services) -> None:
    funnel = _run(services, "random-token")
    pairs = _pairs(services)
    assert pairs
    assert {pair.evidence_kind for pair in pairs} <= {"contradiction", "unproven"}
    assert funnel.counts["pairs"]["by_evidence"]["unproven"] > 0
    with services.db.read() as session:
        edits = list(session.scalars(select(EditRow)))
    assert all(edit.edited != edit.original for edit in edits if edit.reason is None)
