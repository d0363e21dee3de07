"""Rows that come from a finished dataset's files get what rows of a job get: rests, retractions, gates, prompts."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import select, update

from errata.shapes import PAIR_FIELDS, PairRecord
from models.base import new_id
from models.curation import Retraction
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import ProblemRow
from tests.workers.freezing.conftest import PROBLEMS, Freeze, add_job, both, rows

REST = {"kind": "program", "chosen": " right \\boxed{1}", "rejected": " wrong \\boxed{2}"}


def test_whole_solutions_of_a_mix_are_those_of_its_jobs(
    frozen: Freeze, database: Database, store: StoreSettings
) -> None:
    """Files hold no rests: stored ones are looked up, and those of older pairs are found."""
    with database.begin() as session:
        ids = session.scalars(select(PairRow.id).where(PairRow.type == "step").order_by(PairRow.id).limit(20)).all()
        session.execute(update(PairRow).where(PairRow.id.in_(ids)).values(rest=REST))
    direct = frozen(shapes=["whole", "sft"])
    mixed = frozen(jobs=[], datasets=[{"id": direct.id}], shapes=["whole", "sft"])
    assert mixed.state == JobState.SUCCEEDED, mixed.error
    whole = (mixed.manifest or {})["whole"]
    assert whole["pairs"] == {"own": PROBLEMS, "program": 20}
    assert whole == (direct.manifest or {})["whole"]
    for shape in ("steps_and_full", "whole", "sft"):
        assert sorted(map(str, both(store, mixed, shape))) == sorted(map(str, both(store, direct, shape)))


def test_the_prompt_is_the_records(frozen: Freeze, store: StoreSettings) -> None:
    direct = frozen()
    mixed = frozen(jobs=[], datasets=[{"id": direct.id}])
    for dataset in (direct, mixed):
        for row in both(store, dataset, "steps_and_full"):
            assert row["prompt"] == PairRecord(**{name: row[name] for name in PAIR_FIELDS}).plain_prompt


def test_the_senders_id_and_gold_answer_stand_in_every_row(
    frozen: Freeze, database: Database, store: StoreSettings
) -> None:
    with database.begin() as session:
        first = session.scalars(select(ProblemRow).where(ProblemRow.position == 0)).one()
        first.external_id = "mine-0"
        gold = {row.id: (row.external_id, row.gold_answer) for row in session.scalars(select(ProblemRow))}
    direct = frozen()
    for dataset in (direct, frozen(jobs=[], datasets=[{"id": direct.id}])):
        found = both(store, dataset, "steps_and_full")
        assert {gold[row["problem_id"]] for row in found} == set(gold.values())
        assert all(gold[row["problem_id"]] == (row["problem_external_id"], row["gold_answer"]) for row in found)


def test_what_was_retracted_since_is_not_frozen_again(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    before = frozen(shapes=["sft"])
    with database.begin() as session:
        gone = session.scalars(select(ProblemRow.id).where(ProblemRow.position == 3)).one()
        more = {"workspace_id": "ws_1", "reason": "wrong gold", "reviewer": None, "key_id": None}
        session.add(Retraction(id=new_id("retr"), problem_id=gone, **more))
    mixed = frozen(jobs=[], datasets=[{"id": before.id}], shapes=["sft"])
    for shape in ("steps_and_full", "sft"):
        assert gone in {row["problem_id"] for row in both(store, before, shape)}
        assert gone not in {row["problem_id"] for row in both(store, mixed, shape)}
    [told] = (mixed.manifest or {})["retracted"]
    assert (told["problem"], told["pairs"]) == (gone, 3)


def test_near_duplicates_of_a_mix_fall_on_one_side(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    """The same problems asked in other words in another job: the gate sees the questions of both sources."""
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2")
        problem_set = session.get_one(InjectionJob, "inj_2").problem_set_id
        for row in session.scalars(select(ProblemRow).where(ProblemRow.problem_set_id == problem_set)):
            row.question = row.question.upper()
        for pair in session.scalars(select(PairRow).where(PairRow.job_id == "inj_2")):
            pair.question = pair.question.upper()
    other = frozen(jobs=["inj_2"])
    for drawn in ({}, {"max_pairs": 6 * PROBLEMS}):
        mixed = frozen(datasets=[{"id": other.id}], split={"test": 0.4}, **drawn)
        told = (mixed.manifest or {})["gates"]["near_duplicates"]
        assert (told["details"]["questions"], told["found"]) == (2 * PROBLEMS, PROBLEMS)
        sides = [
            {row["question"].upper() for row in rows(store, mixed, "steps_and_full", split)}
            for split in ("train", "test")
        ]
        assert not sides[0] & sides[1]


def test_a_limit_by_problem_holds_for_files_too(frozen: Freeze, store: StoreSettings) -> None:
    before = frozen()
    mixed = frozen(jobs=[], datasets=[{"id": before.id}], step_pairs_per_problem=1)
    steps = Counter(row["problem_id"] for row in both(store, mixed, "steps_and_full") if row["type"] == "step")
    assert set(steps.values()) == {1}
    assert len(steps) == PROBLEMS


def test_the_gates_look_at_what_was_drawn(frozen: Freeze) -> None:
    told = (frozen(max_pairs=30, types=["full"]).manifest or {})["gates"]
    assert told["near_duplicates"]["details"]["questions"] == 30
    assert told["labels"]["details"]["pairs"] == 30


def test_an_imported_dataset_with_prompts_of_its_own_is_refused(frozen: Freeze, database: Database) -> None:
    before = frozen()
    with database.begin() as session:
        dataset = session.get_one(Dataset, before.id)
        dataset.config = {**dataset.config, "import": {"pairs": 3, "samples": 1, "own_prompts": 1}}
    mixed = frozen(jobs=[], datasets=[{"id": before.id}])
    assert (mixed.state, "3 of its 4 prompts are not worded" in str(mixed.error)) == (JobState.FAILED, True)
