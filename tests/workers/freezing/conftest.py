"""A finished job of made-up pairs, and freezing it to a dataset as a worker would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from errata.output_config import DatasetConfig
from models import leases
from models.base import new_id
from models.files import FileStore
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from models.workspaces import ProblemRow, ProblemSet, Workspace
from workers.engines.base import Completion, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp
from workers.judge import JudgePool
from workers.lifecycle import complete_owner
from workers.stages.base import Finish, StageContext
from workers.stages.freeze import freeze

PROBLEMS, SHARD_SIZE = 60, 8
KINDS = ("calculation", "operator", "omission")


class NoEngine:
    """Freezing calls no language model."""

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        """Never."""
        raise AssertionError("a freeze must not generate")

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    """Files in a folder of the test's own."""
    return StoreSettings(ERRATA_HOME=tmp_path / "home")


@pytest.fixture(scope="session")
def judge() -> Iterator[JudgePool]:
    """Labels are judged again by the real one; starting it takes long, and it keeps nothing."""
    pool = JudgePool()
    yield pool
    pool.close()


@pytest.fixture
def job(database: Database) -> str:
    """A finished job: per problem two step pairs, one full pair, two correct samples and a wrong one."""
    with database.begin() as session:
        session.add(Workspace(id="ws_1", name="one"))
        session.flush()
        add_job(session, "ws_1", "inj_1")
    return "inj_1"


def add_job(session: Session, workspace: str, job_id: str, state: str = JobState.SUCCEEDED) -> None:
    """A job with its problems, in shards."""
    problem_set = ProblemSet(
        id=new_id("pset"),
        workspace_id=workspace,
        name="sums",
        domain="math",
        problem_count=PROBLEMS,
        content_sha256="0",
    )
    session.add(problem_set)
    session.flush()
    session.add(
        InjectionJob(
            id=job_id, workspace_id=workspace, problem_set_id=problem_set.id, config={"preset": "rules"}, state=state
        )
    )
    session.flush()
    for position, start in enumerate(range(0, PROBLEMS, SHARD_SIZE)):
        place = {"position": position, "start": start, "stop": min(start + SHARD_SIZE, PROBLEMS)}
        shard = Shard(id=new_id("shard"), injection_job_id=job_id, **place, stage=Stage.PAIR, state=ShardState.DONE)
        session.add(shard)
        session.flush()
        for at in range(start, min(start + SHARD_SIZE, PROBLEMS)):
            add_problem(session, workspace, job_id, problem_set.id, shard.id, at)


def add_problem(session: Session, workspace: str, job_id: str, set_id: str, shard_id: str, at: int) -> None:
    """A problem with two correct samples and a wrong one, two step pairs and a full pair."""
    question = f"Ann has {at} apples and gets {at + 1} “more”. Then she eats 1.\nHow many are left?"
    problem = ProblemRow(
        id=new_id("prob"), problem_set_id=set_id, position=at, question=question, gold_answer=str(2 * at)
    )
    steps = [
        "Let's think step by step.\n",
        f"Step 1: {at} + {at + 1} = {2 * at + 1}\n",
        f"Step 2: {2 * at + 1} - 1 = \\boxed{{{2 * at}}}",
    ]
    texts = ["".join(steps), "".join(steps) + " apples", steps[0] + "Step 1: \\boxed{-1}"]
    session.add(problem)
    session.flush()
    place = {"job_id": job_id, "shard_id": shard_id, "problem_id": problem.id}
    verdicts = ("correct", "correct", "incorrect")
    samples = [
        SolutionRow(id=new_id("sol"), **place, sample_index=index, source="tiny", text=text, verdict=verdict)
        for index, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
    ]
    session.add_all(samples)
    session.flush()
    common = {"workspace_id": workspace, **place, "solution_id": samples[0].id, "question": question, "source": "tiny"}
    session.add_all(_step_pair(common, steps, at, index) for index in (1, 2))
    sides = {"chosen": texts[0], "rejected": texts[2], "rejected_solution_id": samples[2].id}
    session.add(PairRow(id=new_id("pair"), **common, **sides, pair_key=f"full:{at}", type="full"))
    session.flush()


def _step_pair(common: dict[str, Any], steps: Sequence[str], at: int, index: int) -> PairRow:
    """The pair of one step; one in ten is unproven."""
    prefix = "".join(steps[:index])
    proven = (at + index) % 10 != 0
    return PairRow(
        id=new_id("pair"),
        **common,
        pair_key=f"step:{at}:{index}",
        type="step",
        prefix=prefix,
        chosen=steps[index],
        rejected=steps[index].replace("=", "= 9", 1),
        step_index=index - 1,
        start=len(prefix),
        end=len(prefix) + len(steps[index]),
        error_kind=KINDS[(at + index) % 3],
        distance=2,
        evidence_kind="contradiction" if proven else "unproven",
        evidence={"equation": f"{at} = 9", "left": str(at), "right": "9"} if proven else {"why": "no equation"},
        seed=at,
    )


Freeze = Callable[..., Dataset]


@pytest.fixture
def frozen(database: Database, store: StoreSettings, judge: JudgePool, job: str) -> Freeze:
    """Freezes a configuration as a worker would: claim, compute, fenced finish, settle."""

    def run(*, cancelled: Callable[[], bool] = lambda: False, name: str = "sums", **config: Any) -> Dataset:
        lease = claim(database, name, {"jobs": [job]} | config)
        finish = freeze(StageContext(database, store, lease, NoEngine(), judge, cancelled))
        end(database, lease, finish)
        with database.read() as session:
            return session.get_one(Dataset, lease.owner_id)

    return run


def claim(database: Database, name: str, config: dict[str, Any]) -> leases.Lease:
    """A dataset with its shard, leased."""
    with database.begin() as session:
        resolved = DatasetConfig.model_validate(config).model_dump(mode="json")
        dataset = Dataset(id=new_id("ds"), workspace_id="ws_1", name=name, config=resolved)
        session.add(dataset)
        session.flush()
        shard = Shard(id=new_id("shard"), dataset_id=dataset.id, position=0, stage=Stage.FREEZE)
        session.add(shard)
        session.flush()
        lease = leases.claim(session, shard.id, "test", 60)
    assert lease is not None
    return lease


def end(database: Database, lease: leases.Lease, finish: Finish) -> None:
    """The fenced finish, and the settling."""
    with database.begin() as session:
        assert leases.finish(session, lease, finish.next_stage)
        finish.write(session)
    with database.begin() as session:
        complete_owner(session, Dataset, lease.owner_id)


def rows(store: StoreSettings, dataset: Dataset, shape: str, split: str) -> list[dict[str, Any]]:
    """The rows of one file."""
    data = FileStore(store.files).read_bytes(f"{dataset.folder}/{shape}/{split}.jsonl")
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def both(store: StoreSettings, dataset: Dataset, shape: str) -> list[dict[str, Any]]:
    """The rows of both splits; a split without rows has no file."""
    written = (dataset.manifest or {})["rows"].get(shape, {})
    return [row for split in ("train", "test") if split in written for row in rows(store, dataset, shape, split)]
