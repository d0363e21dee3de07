"""Freezing pairs to files: what is in them, where it lands, that it is the same each time, and that it loads."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from sqlalchemy.orm import Session

from errata.datasets.config import DatasetConfig
from errata.datasets.shapes import SHAPES
from errata.splits import split_of
from models import leases
from models.accounts import Workspace
from models.base import new_id
from models.files import FileStore
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Dataset, DatasetSource
from models.problems import ProblemRow, ProblemSet
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from workers.engines.base import Cancelled, Completion, GenerationRequest, Journal, ModelSpec
from workers.judge import JudgePool
from workers.settle import settle
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
    ) -> list[list[Completion]]:
        raise AssertionError("a freeze must not generate")

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    return StoreSettings(ERRATA_HOME=tmp_path / "home")


@pytest.fixture
def judge() -> Iterator[JudgePool]:
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
        shard = Shard(
            id=new_id("shard"), injection_job_id=job_id, position=position, stage=Stage.PAIR, state=ShardState.DONE
        )
        session.add(shard)
        session.flush()
        for at in range(start, min(start + SHARD_SIZE, PROBLEMS)):
            add_problem(session, workspace, job_id, problem_set.id, shard.id, at)


def add_problem(session: Session, workspace: str, job_id: str, set_id: str, shard_id: str, at: int) -> None:
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
    samples = []
    for index, text in enumerate(texts):
        verdict = "correct" if index < 2 else "incorrect"
        samples.append(
            SolutionRow(
                id=new_id("sol"),
                job_id=job_id,
                shard_id=shard_id,
                problem_id=problem.id,
                sample_index=index,
                source="tiny",
                text=text,
                verdict=verdict,
            )
        )
    session.add_all(samples)
    session.flush()
    common = {"workspace_id": workspace, "job_id": job_id, "shard_id": shard_id, "problem_id": problem.id}
    common |= {"solution_id": samples[0].id, "question": question, "source": "tiny"}
    for index in (1, 2):
        prefix = "".join(steps[:index])
        proven = (at + index) % 10 != 0
        session.add(
            PairRow(
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
        )
    session.add(
        PairRow(
            id=new_id("pair"),
            **common,
            pair_key=f"full:{at}",
            type="full",
            chosen=texts[0],
            rejected=texts[2],
            rejected_solution_id=samples[2].id,
        )
    )
    session.flush()


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
    with database.begin() as session:
        assert leases.finish(session, lease, finish.next_stage)
        finish.write(session)
    with database.begin() as session:
        settle(session, Dataset, lease.owner_id)


def rows(store: StoreSettings, dataset: Dataset, shape: str, split: str) -> list[dict[str, Any]]:
    data = FileStore(store.files).read_bytes(f"{dataset.folder}/{shape}/{split}.jsonl")
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def both(store: StoreSettings, dataset: Dataset, shape: str) -> list[dict[str, Any]]:
    return rows(store, dataset, shape, "train") + rows(store, dataset, shape, "test")


ALL_SHAPES = list(SHAPES)


def test_every_pair_arrives_with_its_history(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.25})
    assert dataset.state == JobState.SUCCEEDED
    assert dataset.error is None
    found = both(store, dataset, "steps_and_full")
    assert len(found) == 3 * PROBLEMS
    assert len({row["pair_id"] for row in found}) == 3 * PROBLEMS
    assert list(found[0]) == list(SHAPES["steps_and_full"].fields)
    for row in found:
        if row["type"] == "step":
            assert row["start"] == len(row["prefix"])
            assert row["end"] == row["start"] + len(row["chosen"])
            assert row["error_kind"] in KINDS
            assert json.loads(row["evidence_detail"])
        else:
            assert (row["prefix"], row["step_index"], row["evidence"], row["evidence_detail"]) == ("", None, None, None)
        assert row["chosen"] != row["rejected"]
        assert (row["source"], row["job_id"], row["domain"]) == ("tiny", "inj_1", "math")


def test_sft_holds_every_correct_sample(frozen: Freeze, store: StoreSettings) -> None:
    found = both(store, frozen(), "sft")
    assert len(found) == 2 * PROBLEMS
    assert all("boxed{-1}" not in row["completion"] for row in found)
    assert set(found[0]) == {"question", "completion", "problem_id", "job_id", "domain"}


def test_a_question_lands_on_one_side_in_every_shape(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.3}, shapes=ALL_SHAPES)
    sides: dict[str, set[str]] = {}
    for split in ("train", "test"):
        for shape in ("steps_and_full", "sft", "critique"):
            for row in rows(store, dataset, shape, split):
                sides.setdefault(row["question"], set()).add(split)
    assert len(sides) == PROBLEMS
    assert all(len(found) == 1 for found in sides.values())
    test = [question for question, found in sides.items() if found == {"test"}]
    assert 0.1 * PROBLEMS < len(test) < 0.5 * PROBLEMS
    assert all(split_of(question, 0.3, 0) == "test" for question in test)


def test_rows_keep_the_order_of_the_problems(frozen: Freeze, store: StoreSettings) -> None:
    """Ids are random; the order of the rows decides a training run and must not be."""
    found = rows(store, frozen(split={"test": 0.0}), "steps_and_full", "train")
    numbers = [(int(row["question"].split()[2]), row["type"] == "full", row["step_index"] or 0) for row in found]
    assert numbers == sorted(numbers)


def test_the_manifest_names_every_file(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.2}, shapes=ALL_SHAPES)
    files = FileStore(store.files)
    data = files.read_bytes(f"{dataset.folder}/manifest.json")
    assert hashlib.sha256(data).hexdigest() == dataset.sha256
    manifest = json.loads(data)
    assert manifest == dataset.manifest
    assert [entry["path"] for entry in manifest["files"]] + ["manifest.json"] == sorted(
        files.names(str(dataset.folder)), key=lambda name: (name == "manifest.json", name)
    )
    for entry in manifest["files"]:
        content = files.read_bytes(f"{dataset.folder}/{entry['path']}")
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
        if entry["path"].endswith(".jsonl"):
            assert content.count(b"\n") == entry["rows"]
    steps = 2 * PROBLEMS
    assert manifest["counts"]["pairs"] == 3 * PROBLEMS
    assert manifest["counts"]["problems"] == PROBLEMS
    assert manifest["counts"]["type"] == {"step": steps, "full": PROBLEMS}
    assert sum(manifest["counts"]["error_kind"].values()) == steps
    assert sum(manifest["counts"]["split"].values()) == 3 * PROBLEMS
    assert manifest["lineage"][0] | {"problem_set_id": ""} == {
        "job_id": "inj_1",
        "problem_set_id": "",
        "problem_set_sha256": "0",
        "language_model": None,
        "language_model_fingerprint": None,
        "preset": "rules",
        "prompt_versions": {},
        "config": {"preset": "rules"},
        "partial": False,
        "pairs": 3 * PROBLEMS,
    }


def test_freezing_twice_gives_the_same_bytes(frozen: Freeze) -> None:
    one, other = frozen(shapes=ALL_SHAPES), frozen(shapes=ALL_SHAPES)
    assert one.sha256 == other.sha256
    assert one.folder != other.folder
    assert frozen(shapes=ALL_SHAPES, seed=1).sha256 != one.sha256


def test_parquet_equals_json_lines_under_its_schema(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(shapes=ALL_SHAPES, split={"test": 0.2})
    files = FileStore(store.files)
    assert dataset.manifest is not None
    assert set(dataset.manifest["rows"]) == set(ALL_SHAPES)
    for shape, splits in dataset.manifest["rows"].items():
        for split, count in splits.items():
            table = pq.read_table(files.local_path(f"{dataset.folder}/{shape}/{split}.parquet"))
            assert table.num_rows == count
            assert table.column_names == list(SHAPES[shape].fields)
            assert table.to_pylist() == rows(store, dataset, shape, split)


def test_load_dataset_just_works(
    frozen: Freeze, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = frozen(shapes=ALL_SHAPES, split={"test": 0.2}, name='odd: "name" | <b>*\n# x')
    folder = str(FileStore(store.files).local_path(str(dataset.folder)))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert set(datasets.get_dataset_config_names(folder)) == set(ALL_SHAPES)
    for shape in ALL_SHAPES:
        loaded = datasets.load_dataset(folder, shape, cache_dir=str(tmp_path / "cache"))
        assert {split: loaded[split].num_rows for split in loaded} == (dataset.manifest or {})["rows"][shape]
        assert loaded["train"].to_list() == rows(store, dataset, shape, "train")


def test_the_card_says_what_the_manifest_holds(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(name="A | name\n# with `marks`")
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["pretty_name"] == "A | name\n# with `marks`"
    assert [config["config_name"] for config in head["configs"]] == ["steps_and_full", "sft", "trl"]
    assert head["configs"][0]["default"] is True
    assert "# A \\| name \\# with \\`marks\\`\n" in card
    assert f"{3 * PROBLEMS:,} preference pairs from {PROBLEMS:,} problems" in card
    assert f"| step | {2 * PROBLEMS:,} |" in card
    assert "`inj_1`" in card


def test_the_audit_of_each_pair_type_is_in_manifest_and_card(frozen: Freeze, store: StoreSettings) -> None:
    """The fixture's rejected steps read "= 9...": a shortcut, which the dataset has to own up to."""
    dataset = frozen()
    report = (dataset.manifest or {})["audit"]
    assert set(report) == {"step", "full"}
    assert (report["step"]["pairs"], report["step"]["problems"]) == (2 * PROBLEMS, PROBLEMS)
    assert report["step"]["auc"] > report["step"]["threshold"]
    assert report["step"]["warning"] == report["step"]["sentence"]
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "## Shortcut audit" in card
    assert "**Warning.** A classifier that never sees the question tells the sides of step pairs apart" in card
    only = (frozen(types=["full"]).manifest or {})["audit"]
    assert only == {"full": report["full"]}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"types": ["step"]}, {"step": 120}),
        ({"types": ["full"]}, {"full": 60}),
        ({"kinds": ["operator"]}, {"step": 40, "full": 60}),
        ({"require_evidence": True}, {"step": 108, "full": 60}),
        ({"types": ["step"], "kinds": ["omission", "operator"], "require_evidence": True}, {"step": 72}),
    ],
)
def test_the_configuration_selects(frozen: Freeze, store: StoreSettings, config: Any, expected: dict[str, int]) -> None:
    dataset = frozen(**config, shapes=["steps_and_full"], split={"test": 0.3})
    found = both(store, dataset, "steps_and_full")
    assert Counter(row["type"] for row in found) == expected
    if "kinds" in config:
        assert {row["error_kind"] for row in found if row["type"] == "step"} == set(config["kinds"])
    if config.get("require_evidence"):
        assert {row["evidence"] for row in found if row["type"] == "step"} == {"contradiction"}


def test_an_empty_selection_fails_with_its_reason(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(types=["step"], kinds=["misreading"])
    assert dataset.state == JobState.FAILED
    assert "holds no pairs" in str(dataset.error)
    assert (dataset.folder, dataset.sha256) == (None, None)
    assert FileStore(store.files).names("datasets") == []


def test_a_job_of_another_workspace_does_not_exist(frozen: Freeze, database: Database) -> None:
    with database.begin() as session:
        session.add(Workspace(id="ws_2", name="two"))
        session.flush()
        add_job(session, "ws_2", "inj_2")
    for job_id in ("inj_2", "inj_none"):
        dataset = frozen(jobs=["inj_1", job_id])
        assert (dataset.state, dataset.error) == (JobState.FAILED, f"there is no injection job {job_id}")


def test_a_job_that_still_runs_is_refused(frozen: Freeze, database: Database) -> None:
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2", JobState.RUNNING)
    assert "is running" in str(frozen(jobs=["inj_2"]).error)


def test_two_jobs_in_one_dataset(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2")
    dataset = frozen(jobs=["inj_2", "inj_1"], split={"test": 0.2})
    found = rows(store, dataset, "steps_and_full", "train")
    assert [row["job_id"] for row in found] == sorted((row["job_id"] for row in found), reverse=True)
    assert len(both(store, dataset, "steps_and_full")) == 6 * PROBLEMS
    questions = {split: {r["question"] for r in rows(store, dataset, "sft", split)} for split in ("train", "test")}
    assert not questions["train"] & questions["test"]
    with database.read() as session:
        assert session.query(DatasetSource).filter_by(dataset_id=dataset.id).count() == 2


def test_a_cancelled_freeze_leaves_no_files(frozen: Freeze, store: StoreSettings) -> None:
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        frozen(cancelled=lambda: next(calls))
    assert FileStore(store.files).names("datasets") == []
    assert FileStore(store.files).names(".tmp") == []


def test_a_freeze_done_twice_is_stored_once(
    database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    """A worker presumed dead finishes late: it finds the folder there, and its write is refused by the fence."""
    late = claim(database, "sums", {"jobs": [job]})
    with database.begin() as session:
        assert leases.release(session, late)
    with database.begin() as session:
        lease = leases.claim(session, late.shard_id, "other", 60)
    assert lease is not None
    end(database, lease, freeze(StageContext(database, store, lease, NoEngine(), judge, lambda: False)))
    freeze(StageContext(database, store, late, NoEngine(), judge, lambda: False))
    with database.begin() as session:
        assert not leases.finish(session, late, None)
        dataset = session.get_one(Dataset, late.owner_id)
        assert dataset.state == JobState.SUCCEEDED
    folders = {name.split("/")[0] for name in FileStore(store.files).names("datasets")}
    assert folders == {str(dataset.folder).removeprefix("datasets/")}
