"""Adaptive sampling over the real stages, with the miniature: the same pairs from fewer tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from errata.funnel import Funnel
from errata.types import Verdict
from models.jobs import Shard, SolutionRow
from models.migrate import Base
from models.session import Database
from models.states import JobState
from tests.workers.engines.conftest import MODEL
from tests.workers.engines.jobs import PROBLEMS, posted
from workers.engines.base import ModelSpec
from workers.engines.pool import EnginePool
from workers.judge import JudgePool

K = 5
Key = tuple[str, int]


@dataclass
class Outcome:
    """What one job made and spent."""

    made: dict[str, Any]
    funnel: Funnel
    drawn: dict[Key, tuple[str, int | None, str | None, str | None]]  # text, seed, verdict, role
    seconds: list[float | None]

    def samples_of(self, problem: str) -> list[Key]:
        """The samples of one problem, in order."""
        return sorted(key for key in self.drawn if key[0] == problem)


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[EnginePool, JudgePool]]:
    pool = EnginePool(threads=1)
    with JudgePool(1) as judge:
        yield pool, judge
    pool.close()


def _run(folder: Path, services: tuple[EnginePool, JudgePool], **overrides: Any) -> Outcome:
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    model = ModelSpec("m", "transformers", {"path": str(MODEL), "device": "cpu"})
    sampling = {"samples": K, "temperature": 1.0, "max_tokens": 200, **overrides.pop("sampling", {})}
    with posted(database, folder, services, model, sampling=sampling, **overrides) as job:
        job.run()
        assert job.state() == JobState.SUCCEEDED
        made = job.made()
    with database.read() as session:
        rows = session.scalars(select(SolutionRow)).all()
        drawn = {(r.problem_id, r.sample_index): (r.text, r.seed, r.verdict, r.role) for r in rows}
        ledgers = session.scalars(select(Shard.ledger))
        funnel = Funnel.total(ledger["funnel"] for ledger in ledgers)
        assert funnel.counts["tokens"]["sample"] == {
            "prompt": sum(row.prompt_tokens for row in rows),
            "completion": sum(row.completion_tokens for row in rows),
            "cached": 0,
        }
        seconds = [row.verdict_seconds for row in rows]
    funnel.check()
    database.dispose()
    return Outcome(made, funnel, drawn, seconds)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory, services: tuple[EnginePool, JudgePool]) -> Outcome:
    """All K samples at once."""
    return _run(tmp_path_factory.mktemp("fixed") / "job", services, sampling={"adaptive": False})


def test_waves_are_the_beginning_of_the_fixed_samples_and_the_pairs_are_the_same(
    fixed: Outcome, services: tuple[EnginePool, JudgePool], tmp_path: Path
) -> None:
    found = _run(tmp_path / "one", services)
    assert found.drawn.items() <= fixed.drawn.items(), "text, seed, verdict and role"
    assert found.made["pairs"] == fixed.made["pairs"]
    assert {type_ for _, type_, _, _ in found.made["pairs"]} == {"step", "full"}
    assert found.made == _run(tmp_path / "again", services).made, "a job done twice gives the same"
    counts = found.funnel.counts["samples"]
    assert counts["total"] + counts["spared"] == K * len(PROBLEMS) == fixed.funnel.counts["samples"]["total"]
    assert counts["total"] < 0.8 * K * len(PROBLEMS)
    figures = [each.funnel.figures()["tokens_per_pair"] or 0 for each in (found, fixed)]
    assert 0 < figures[0] < figures[1]
    assert all(seconds is not None for seconds in found.seconds)


def test_each_problem_stops_where_it_has_both(
    fixed: Outcome, services: tuple[EnginePool, JudgePool], tmp_path: Path
) -> None:
    """By the verdicts of all K samples: whatever the stage did, it should have stopped there."""
    found = _run(tmp_path / "job", services)
    verdicts: dict[str, list[str | None]] = defaultdict(list)
    for problem, index in sorted(fixed.drawn):
        verdicts[problem].append(fixed.drawn[problem, index][2])
    both = {Verdict.CORRECT, Verdict.INCORRECT}
    stops = {p: next((n for n in range(2, K) if both <= set(v[:n])), K) for p, v in verdicts.items()}
    assert {problem: len(found.samples_of(problem)) for problem in verdicts} == stops
    assert len(set(stops.values())) > 2


def test_a_job_of_step_pairs_alone_stops_at_the_first_correct_solution(
    fixed: Outcome, services: tuple[EnginePool, JudgePool], tmp_path: Path
) -> None:
    found = _run(tmp_path / "job", services, pairs={"full": False})
    assert found.drawn.keys() <= fixed.drawn.keys()
    for problem in {key[0] for key in fixed.drawn}:
        verdicts = [found.drawn[key][2] for key in found.samples_of(problem)]
        assert Verdict.CORRECT not in verdicts[:-1]
        assert len(verdicts) == K or verdicts[-1] == Verdict.CORRECT
    steps = [pair for pair in fixed.made["pairs"] if pair[1] == "step"]
    assert found.made["pairs"] == steps


def test_waves_of_several_samples(fixed: Outcome, services: tuple[EnginePool, JudgePool], tmp_path: Path) -> None:
    found = _run(tmp_path / "job", services, sampling={"wave": 3})
    assert found.drawn.items() <= fixed.drawn.items()
    assert {len(found.samples_of(problem)) for problem, _ in found.drawn} == {3, K}
    assert found.made["pairs"] == fixed.made["pairs"]
