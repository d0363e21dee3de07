"""Gates in a real freeze: figures and rows in the manifest, near-duplicates on one side, refusals with evidence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.base import new_id
from models.files import FileStore
from models.jobs import PairRow, Shard, SolutionRow
from models.outputs import Dataset, Event
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from models.workspaces import LanguageModel, ProblemRow, ProblemSet
from tests.errata.gates import planted
from tests.workers.freezing.conftest import PROBLEMS, Freeze, both, rows
from workers.engines.base import Cancelled
from workers.stages.gate_rows import TextFile

PAIRS = 3 * PROBLEMS


def gates_of(dataset: Dataset) -> dict[str, Any]:
    """The reports of a dataset that succeeded."""
    assert dataset.state == JobState.SUCCEEDED, dataset.error
    assert dataset.manifest is not None
    found: dict[str, Any] = dataset.manifest["gates"]
    return found


def ask_again(database: Database, changes: dict[int, Callable[[str], str]], copies: int = 1) -> dict[str, str]:
    """Copy problems (by position) with their pairs under a changed question; copy's problem id to the original's."""
    made: dict[str, str] = {}
    with database.begin() as session:
        problems = {row.position: row for row in session.scalars(select(ProblemRow))}
        last = max(problems)
        place = {"injection_job_id": "inj_1", "position": last, "start": last + 1}
        stop = last + 1 + copies * len(changes)
        shard = Shard(id=new_id("shard"), **place, stop=stop, stage=Stage.PAIR, state=ShardState.DONE)
        session.add(shard)
        session.flush()
        for position, change in changes.items():
            old = problems[position]
            for _ in range(copies):
                last += 1
                fields = {"problem_set_id": old.problem_set_id, "gold_answer": old.gold_answer, "position": last}
                new = ProblemRow(id=new_id("prob"), question=change(old.question), **fields)
                session.add(new)
                session.flush()
                made[new.id] = old.id
                sample = session.scalars(select(SolutionRow).where(SolutionRow.problem_id == old.id)).first()
                assert sample is not None
                for pair in session.scalars(select(PairRow).where(PairRow.problem_id == old.id)).all():
                    values = {c.key: getattr(pair, c.key) for c in PairRow.__table__.columns}
                    own = {"id": new_id("pair"), "problem_id": new.id, "question": new.question, "shard_id": shard.id}
                    session.add(PairRow(**{**values, **own, "pair_key": own["id"]}))
    return made


def test_every_gate_tells_its_figure(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen()
    found = gates_of(dataset)
    assert set(found) == {"near_duplicates", "duplicate_pairs", "contamination", "shortcuts", "labels", "lengths"}
    for told in found.values():
        assert set(told) == {"action", "state", "figure", "at_most", "sentence", "found", "rows", "details"}
        assert told["action"] == "warn"
    assert (found["near_duplicates"]["state"], found["near_duplicates"]["figure"]) == ("passed", 0)
    assert found["near_duplicates"]["details"]["questions"] == PROBLEMS
    assert (found["duplicate_pairs"]["state"], found["duplicate_pairs"]["details"]["distinct"]) == ("passed", PAIRS)
    assert found["contamination"]["state"] == "not_measured"
    # Every rejected step has "= 9": the fixture is one large shortcut.
    assert (found["shortcuts"]["state"], found["shortcuts"]["figure"] > 0.9) == ("warning", True)
    assert any("9" in row["feature"] for row in found["shortcuts"]["rows"] if row["toward"] == "rejected")
    assert found["labels"]["details"]["checked"] == PAIRS
    assert found["lengths"]["details"]["unit"] == "characters"
    assert found["lengths"]["state"] == "not_measured"
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "## Gates" in card
    assert "| shortcut audit | **warning** |" in card


def test_the_same_question_three_times_is_told(database: Database, frozen: Freeze) -> None:
    made = ask_again(database, {4: str}, copies=2)
    found = gates_of(frozen())
    assert found["near_duplicates"]["figure"] == pytest.approx(2 / (PROBLEMS + 2), abs=1e-5)
    assert {row["problem_id"] for row in found["near_duplicates"]["rows"]} == set(made)
    assert {row["repeats"] for row in found["near_duplicates"]["rows"]} == set(made.values())
    pairs = found["duplicate_pairs"]
    assert (pairs["found"], pairs["details"]) == (6, {"pairs": PAIRS + 6, "distinct": PAIRS, "exact": 6})
    assert pairs["state"] == "warning"
    assert all(row["kind"] == "exact" for row in pairs["rows"])
    assert len({row["pair_id"] for row in pairs["rows"]}) == 6


CHANGES: dict[int, Callable[[str], str]] = {
    2: lambda q: q.replace("Ann", "Zoë").replace("she", "they"),
    3: lambda q: q.replace(" ", "  ").upper(),
    5: lambda q: "How many are left? Then she eats 1. " + q.split(".")[0] + ".",
}
SINGLE = "A {} has 12 wheels and its trailer has 7 more. How many wheels are there?"


def test_near_duplicates_fall_on_one_side(database: Database, frozen: Freeze, store: StoreSettings) -> None:
    made = ask_again(database, {at: CHANGES[kind] for kind in CHANGES for at in range(kind, PROBLEMS, 11)})
    asked = {
        at: f"{name} are drawn by a truck. {SINGLE.format(name)}" for at, name in enumerate(("cart", "bus", "van"))
    }
    first = ask_again(database, {at: lambda _, q=q: q for at, q in asked.items()})  # type: ignore[misc]
    again = ask_again(database, {at: lambda _, q=q: q.replace("12", "14") for at, q in asked.items()})  # type: ignore[misc]
    variants = dict(zip(again, first, strict=True))
    dataset = frozen(split={"test": 0.4})
    found = gates_of(dataset)["near_duplicates"]
    kinds = found["details"]["by_kind"]
    assert kinds["names"] == len(range(2, PROBLEMS, 11))
    assert kinds["format"] == len(range(3, PROBLEMS, 11))
    assert kinds["order"] == len(range(5, PROBLEMS, 11))
    assert {row["problem_id"]: row["repeats"] for row in found["details"]["number_variants"]} == variants
    assert kinds["number_variant"] == len(variants)
    assert found["found"] == len(made)
    sides: dict[str, set[str]] = {}
    for split in ("train", "test"):
        for row in rows(store, dataset, "steps_and_full", split):
            problem = (made | variants).get(row["problem_id"], row["problem_id"])
            sides.setdefault(problem, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "test"} == set().union(*(sides[problem] for problem in made.values()))


def test_evidence_is_bounded_and_everything_counted(database: Database, frozen: Freeze) -> None:
    ask_again(database, dict.fromkeys(range(PROBLEMS), str), copies=3)
    found = gates_of(frozen(shapes=[], gates={"shortcuts": {"action": "off"}, "labels": {"sample": 9}}))
    assert (found["near_duplicates"]["found"], len(found["near_duplicates"]["rows"])) == (3 * PROBLEMS, 100)
    assert (found["duplicate_pairs"]["found"], len(found["duplicate_pairs"]["rows"])) == (3 * PAIRS, 100)


def benchmark(database: Database, questions: list[str], workspace: str = "ws_1", *, marked: bool = True) -> None:
    """A problem set with these questions."""
    with database.begin() as session:
        about = {"domain": "math", "problem_count": len(questions), "content_sha256": "0"}
        set_ = ProblemSet(id=new_id("pset"), workspace_id=workspace, name="held out", benchmark=marked, **about)
        session.add(set_)
        session.flush()
        for at, question in enumerate(questions):
            fields = {"problem_set_id": set_.id, "position": at, "gold_answer": "1"}
            session.add(ProblemRow(id=new_id("prob"), question=question, **fields))


def test_contamination_by_a_benchmark(database: Database, frozen: Freeze, shared_data: Path) -> None:
    lines = (shared_data / "gsm8k" / "train-1000.jsonl").read_text().splitlines()[:40]
    real = [json.loads(line)["question"] for line in lines]
    rng = random.Random(1)
    planted_at = dict(enumerate(real[:12]))
    made = ask_again(database, {at: lambda _, q=q: planted.respaced(q, rng) for at, q in planted_at.items()})  # type: ignore[misc]
    benchmark(database, real[20:], marked=True)
    assert gates_of(frozen())["contamination"]["figure"] == 0
    benchmark(database, real[:20], marked=False)
    assert gates_of(frozen())["contamination"]["figure"] == 0
    benchmark(database, real[:20])
    found = gates_of(frozen())["contamination"]
    assert (found["state"], found["found"]) == ("warning", 12)
    assert {row["problem_id"] for row in found["rows"]} == set(made)
    assert {row["benchmark"] for row in found["rows"]} == {"held out"}


def test_wrong_labels_are_found_by_their_pairs(database: Database, frozen: Freeze) -> None:
    with database.begin() as session:
        full = session.scalars(select(PairRow).where(PairRow.type == "full").limit(5)).all()
        for pair in full:
            pair.chosen, pair.rejected = pair.rejected, pair.chosen
        swapped = {pair.id for pair in full}
        problem = session.scalars(select(ProblemRow).where(ProblemRow.position == 50)).one()
        problem.gold_answer = "77777"
        swapped |= set(session.scalars(select(PairRow.id).where(PairRow.problem_id == problem.id)))
    found = gates_of(frozen(types=["full"]))["labels"]
    assert found["state"] == "warning"
    assert found["found"] == 6
    assert {row["pair_id"] for row in found["rows"]} < swapped
    assert found["figure"] == pytest.approx(6 / PROBLEMS)
    assert found["details"]["holds"] == PROBLEMS - 6


def test_the_sample_of_labels_is_bounded(frozen: Freeze) -> None:
    found = gates_of(frozen(gates={"labels": {"sample": 10}, "lengths": {"sample": 7}}))
    assert found["labels"]["details"]["checked"] == 10
    assert found["lengths"]["details"]["measured"] == 7


def test_lengths_by_the_jobs_tokenizer(
    database: Database, frozen: Freeze, random_model: Path, job: str, store: StoreSettings
) -> None:
    with database.begin() as session:
        config = {"path": str(random_model)}
        model = LanguageModel(id="lm_1", workspace_id="ws_1", name="tiny", engine="transformers", config=config)
        session.add(model)
        session.flush()
        pair = session.scalars(select(PairRow)).first()
        assert pair is not None
        owner = type_of_job(session, pair.job_id)
        owner.language_model_id = "lm_1"
    found = gates_of(frozen(gates={"lengths": {"max_length": 40}}))["lengths"]
    assert found["details"]["unit"] == "tokens of tiny"
    assert (found["state"], found["figure"]) == ("warning", 1.0)
    assert found["details"]["error_cut_off"] > 0.5
    assert len(found["rows"]) == 100
    assert gates_of(frozen())["lengths"]["state"] == "passed"


def type_of_job(session: Any, job_id: str) -> Any:
    """The job's row."""
    from models.jobs import InjectionJob

    return session.get_one(InjectionJob, job_id)


def test_a_refused_dataset_fails_with_remedy_and_evidence(
    database: Database, frozen: Freeze, store: StoreSettings
) -> None:
    ask_again(database, {4: str}, copies=2)
    dataset = frozen(gates={"near_duplicates": {"action": "refuse"}, "shortcuts": {"action": "off"}})
    assert (dataset.state, dataset.folder, dataset.manifest) == (JobState.FAILED, None, None)
    assert "near_duplicates: 2 of 62 questions repeat another one (2 by exact)." in str(dataset.error)
    assert "'gates.near_duplicates.at_most'" in str(dataset.error)
    with database.read() as session:
        event = session.scalars(select(Event).where(Event.type == "gates_refused")).one()
    assert event.data["gates"]["near_duplicates"]["state"] == "refused"
    assert len(event.data["gates"]["near_duplicates"]["rows"]) == 2
    assert "shortcuts" not in event.data["gates"]
    assert FileStore(store.files).names("datasets") == []
    assert frozen(gates={"near_duplicates": {"action": "refuse", "at_most": 0.05}}).state == JobState.SUCCEEDED


def test_gates_leave_no_scratch_files(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen()
    assert FileStore(store.files).names(".tmp") == []
    assert dataset.manifest is not None
    assert len(both(store, dataset, "steps_and_full")) == PAIRS


def test_gates_are_the_same_each_time(database: Database, frozen: Freeze) -> None:
    ask_again(database, CHANGES)
    one, other = frozen(), frozen()
    assert gates_of(one) == gates_of(other)
    assert one.sha256 == other.sha256


def test_a_freeze_is_cancelled_amid_its_gates(frozen: Freeze) -> None:
    with pytest.raises(Cancelled):
        frozen(cancelled=lambda: True)


def test_texts_on_disk(tmp_path: Path) -> None:
    texts = TextFile(tmp_path)
    given = ["", "a\nb", "ü€", "\ud800", "x" * 100_000]
    for text in given[:3]:
        texts.add(text)
    assert texts[2] == "ü€"
    for text in given[3:]:
        texts.add(text)
    assert [texts[at] for at in range(len(texts))] == given
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IndexError):
        texts[5]
    texts.close()
