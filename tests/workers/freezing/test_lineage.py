"""From pairs to datasets and back: lineage, retractions and differences over HTTP, on what the freeze writes."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select

from api.app import create_app
from api.http.auth import create_key
from api.settings import ApiSettings
from models.base import new_id
from models.curation import Retraction, retractions_in
from models.dataset_rows import contents, difference
from models.files import FileStore
from models.jobs import PairRow
from models.outputs import Dataset, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel, ProblemRow
from tests.api.conftest import CheckedClient, KeptHints
from tests.workers.freezing.conftest import Freeze, both, rows

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the same on both
HALF = {"split": {"test": 0.5}}


@pytest.fixture
def api(database: Database, store: StoreSettings, job: str) -> CheckedClient:
    """A client that opens the workspace of the job."""
    client = CheckedClient(create_app(database, store, KeptHints(database), ApiSettings()))
    with database.begin() as session:
        client.headers["authorization"] = f"Bearer {create_key(session, 'Lin', workspace='one')[1]}"
    return client


def problem_row(database: Database, at: int = 7) -> ProblemRow:
    with database.begin() as session:
        problem = session.scalars(select(ProblemRow).where(ProblemRow.position == at)).one()
        problem.external_id = f"own/{at} %"
        return problem


def trained(database: Database, dataset: Dataset) -> None:
    """A training run on the dataset whose result is the model ``rise``."""
    with database.begin() as session:
        model = LanguageModel(id="model_1", workspace_id="ws_1", name="rise", engine="transformers")
        session.add(model)
        session.flush()
        run = {"workspace_id": "ws_1", "dataset_id": dataset.id, "output_name": "rise", "config": {}}
        run |= {"base_model_id": "model_1", "output_model_id": "model_1", "state": "succeeded"}
        session.add(TrainingRun(id=new_id("train"), **run))


def test_a_retracted_problem_is_left_out_of_later_freezes_and_marks_earlier_ones(
    api: CheckedClient, database: Database, store: StoreSettings, frozen: Freeze, job: str
) -> None:
    before = frozen(shapes=["sft", "trl"], **HALF)
    trained(database, before)
    problem = problem_row(database)
    url = f"/v1/problem-sets/{problem.problem_set_id}/retract"
    assert api.post(url, json={"problem": "own/8 %", "reason": "x"}).status_code == 404
    told = api.post(url, json={"problem": "own/7 %", "reason": "Gold is *wrong*"}).json()
    assert (told["problem"], told["external_id"], told["reviewer"]) == (problem.id, "own/7 %", "Lin")
    assert [(d["dataset"], d["pairs"], [m["language_model"] for m in d["models"]]) for d in told["reached"]] == [
        (before.id, 3, ["rise"])
    ]
    assert api.post(url, json={"problem": problem.id, "reason": "again"}).json() == told, "it is retracted once"
    marked = api.get(f"/v1/datasets/{before.id}").json()["retracted"]
    assert [(told["problem"], told["pairs"], told["reason"]) for told in marked] == [(problem.id, 3, "Gold is *wrong*")]

    after = frozen(shapes=["sft", "trl"], **HALF)
    gone = {row["pair_id"] for row in both(store, before, "steps_and_full")} - {
        row["pair_id"] for row in both(store, after, "steps_and_full")
    }
    with database.read() as session:
        assert gone == set(session.scalars(select(PairRow.id).where(PairRow.problem_id == problem.id)))
    assert problem.id in {row["problem_id"] for row in both(store, before, "sft")}
    assert problem.id not in {row["problem_id"] for row in both(store, after, "sft")}
    assert after.manifest is not None
    assert [entry["problem"] for entry in after.manifest["retracted"]] == [problem.id]
    assert after.manifest["counts"]["pairs"] == before.manifest["counts"]["pairs"] - 3  # type: ignore[index]
    card = FileStore(store.files).read_bytes(f"{after.folder}/README.md").decode()
    assert "Gold is \\*wrong\\*" in card
    assert api.get(f"/v1/datasets/{after.id}").json()["retracted"] is None, "its manifest says so"
    assert [d["dataset"] for d in api.get(f"/v1/retractions/{told['id']}").json()["reached"]] == [before.id]

    assert [row["id"] for row in api.get("/v1/retractions").json()["data"]] == [told["id"]]
    api.delete(f"/v1/retractions/{told['id']}")
    again = frozen(shapes=["sft", "trl"], **HALF)
    assert again.manifest is not None
    assert "retracted" not in again.manifest
    assert again.manifest["counts"] == before.manifest["counts"]  # type: ignore[index]


def test_a_retracted_job_gives_no_dataset(api: CheckedClient, database: Database, frozen: Freeze, job: str) -> None:
    before = frozen()
    told = api.post(f"/v1/injection-jobs/{job}/retract", json={"reason": "wrong model", "reviewer": "Mae"}).json()
    assert [d["dataset"] for d in told["reached"]] == [before.id]
    assert told["reached"][0]["pairs"] == 180
    with database.read() as session:
        assert [entry["pairs"] for entry in retractions_in(session, [job])] == [180]
    refused = api.post("/v1/datasets", json={"name": "d", "jobs": [job]})
    assert (refused.status_code, [e["field"] for e in refused.json()["errors"]]) == (422, ["jobs"])
    assert frozen().state == "failed"
    assert api.get(f"/v1/datasets/{before.id}/archive.zip").status_code == 200, "what is frozen stays"
    assert [e["type"] for e in api.get(f"/v1/injection-jobs/{job}/events").json()["data"]] == ["retracted"]


def test_lineage_tells_where_a_pair_comes_from_and_where_it_went(
    api: CheckedClient, database: Database, store: StoreSettings, frozen: Freeze, job: str
) -> None:
    everything, steps = frozen(), frozen(types=["step"])
    trained(database, steps)
    for row in rows(store, everything, "steps_and_full", "train")[:4]:
        told = api.get(f"/v1/pairs/{row['pair_id']}/lineage").json()
        assert told["pair"]["id"] == row["pair_id"]
        assert (told["job"]["id"], told["problem"]["question"]) == (job, row["question"])
        assert told["solution"]["text"].startswith(row["prefix"] + row["chosen"])
        expected = [everything.id, steps.id] if row["type"] == "step" else [everything.id]
        assert sorted(d["dataset"] for d in told["datasets"]) == sorted(expected)
        models = {d["dataset"]: [m["language_model"] for m in d["models"]] for d in told["datasets"]}
        assert models[everything.id] == []
        assert models.get(steps.id, ["rise"]) == ["rise"]
        assert (told["rejected_solution"] is None) == (row["type"] == "step")
    FileStore(store.files).remove(str(everything.folder))
    assert api.get(f"/v1/pairs/{row['pair_id']}/lineage").status_code == 200


def pages(api: CheckedClient, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = api.get(f"{url}&limit=7{after}").json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['next']}"


@SQLITE
def test_two_datasets_are_compared_by_what_their_pairs_say(
    api: CheckedClient, store: StoreSettings, frozen: Freeze
) -> None:
    whole = frozen(**HALF)
    some = frozen(kinds=["calculation", "operator"], require_evidence=True, **HALF)
    moved = frozen(split={"test": 0.5}, seed=9)

    def keys(dataset: Dataset) -> set[tuple[Any, ...]]:
        names = ("type", "question", "prefix", "chosen", "rejected")
        return {tuple(row[name] for name in names) for row in both(store, dataset, "steps_and_full")}

    url = f"/v1/datasets/{some.id}/diff/{whole.id}?"
    told = api.get(url).json()
    only = keys(whole) - keys(some)
    assert (told["added"], told["removed"], told["common"]) == (len(only), 0, len(keys(some)))
    added = pages(api, url)
    assert {tuple(r[n] for n in ("type", "question", "prefix", "chosen", "rejected")) for r in added} == only
    assert len(added) == len(only) > 14
    assert [row["split"] for row in added] == sorted((row["split"] for row in added), reverse=True)
    back = f"/v1/datasets/{whole.id}/diff/{some.id}?side=removed"
    assert [row["pair_id"] for row in pages(api, back)] == [row["pair_id"] for row in added]
    same = api.get(f"/v1/datasets/{whole.id}/diff/{whole.id}").json()
    assert [same[name] for name in ("added", "removed", "moved", "data")] == [0, 0, 0, []]
    other = api.get(f"/v1/datasets/{whole.id}/diff/{moved.id}").json()
    sides = [
        {row["pair_id"]: split for split in ("train", "test") for row in rows(store, dataset, "steps_and_full", split)}
        for dataset in (whole, moved)
    ]
    assert other["moved"] == sum(sides[0][pair] != sides[1][pair] for pair in sides[0]) > 0
    cursor = api.get(f"{url}limit=3").json()["next"]
    assert api.get(f"{back}&after={cursor}").status_code == 422, "a cursor of another list"
    files = FileStore(store.files)
    assert difference(contents(files, whole), contents(files, some)).moved == 0


@SQLITE
def test_the_archive_of_a_frozen_dataset_holds_its_files(
    api: CheckedClient, store: StoreSettings, frozen: Freeze
) -> None:
    dataset = frozen()
    answer = api.get(f"/v1/datasets/{dataset.id}/archive.zip")
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert names == set(FileStore(store.files).names(str(dataset.folder)))


def test_a_retraction_has_one_subject(database: Database, job: str) -> None:
    with pytest.raises(Exception, match="one_subject"), database.begin() as session:
        session.add(Retraction(id="retract_1", workspace_id="ws_1", reason="x"))
