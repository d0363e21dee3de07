"""Imported rows pass the gates that hold for them, and are mixed and filtered where they know the answer."""

from __future__ import annotations

from typing import Any

import pytest

from models.files import FileStore
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from tests.api.imports.conftest import Finish, Table, send

THINGS = (
    *("apples", "boats", "cups", "doors", "eggs", "forks", "gates", "hats", "inks", "jars", "keys", "lamps"),
    *("maps", "nets", "oars", "pens", "quilts", "ropes", "spoons", "tents", "urns", "vases", "wagons", "yarns"),
)
WRONG = (3, 7, 11)  # rows whose sides are swapped


def row(at: int) -> dict[str, Any]:
    """A preference row with its gold answer."""
    asked = f"A shop sells {at + 2} {THINGS[at]} in the morning and {3 * at + 1} {THINGS[at]} at night. How many is it?"
    sides = [f"{at + 2} + {3 * at + 1} = \\boxed{{{value}}}" for value in (4 * at + 3, 4 * at + 9)]
    right, wrong = reversed(sides) if at in WRONG else sides
    return {"prompt": asked, "chosen": right, "rejected": wrong, "gold_answer": 4 * at + 3, "score": 1}


ROWS = [row(at) for at in range(len(THINGS))]
AGAIN = {**ROWS[0], "prompt": ROWS[0]["prompt"].replace(" ", "  ").upper()}
GOLDLESS = {"prompt": "Which colour has the sky on a clear day?", "chosen": "Blue it is.", "rejected": "It is green."}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is checked lies in files
CONFIG = {"split": {"test": 0.3}}


@ON_SQLITE
def test_imported_rows_pass_the_gates(
    client: CheckedClient, finish: Finish, table: Table, database: Database, store: StoreSettings
) -> None:
    problems = [{"question": ROWS[5]["prompt"], "gold_answer": "23"}]
    client.post("/v1/problem-sets", json={"name": "exam", "benchmark": True, "problems": problems})
    sent = send(client, [*ROWS, AGAIN, GOLDLESS], config=CONFIG).json()
    assert sent["imported"]["ignored_columns"] == ["score"], "a gold answer is used"
    made = finish(sent["id"])
    gates = made["manifest"]["gates"]
    assert {row["pair_id"] for row in gates["labels"]["rows"]} == {
        pair["pair_id"]
        for split in ("train", "test")
        for pair in table(sent["id"], "steps_and_full", split)
        if pair["question"] in {ROWS[at]["prompt"] for at in WRONG}
    }
    assert (gates["labels"]["state"], gates["labels"]["found"], gates["labels"]["details"]["checked"]) == (
        *("warning", len(WRONG)),
        len(ROWS) + 1,
    )
    assert "Not checked: 1, because their rows tell no gold answer" in gates["labels"]["sentence"]
    assert (gates["contamination"]["found"], gates["contamination"]["rows"][0]["benchmark"]) == (1, "exam")
    assert (gates["near_duplicates"]["found"], gates["duplicate_pairs"]["found"]) == (1, 1)
    assert gates["shortcuts"]["figure"] is not None
    assert (gates["lengths"]["state"], gates["lengths"]["details"]["unit"]) == ("not_measured", "characters")
    sides = [{pair["question"] for pair in table(sent["id"], "steps_and_full", split)} for split in ("train", "test")]
    assert any({ROWS[0]["prompt"], AGAIN["prompt"]} <= side for side in sides), "near-duplicates fall on one side"
    with database.read() as session:
        folder = session.get_one(Dataset, sent["id"]).folder
    card = FileStore(store.files).read_bytes(f"{folder}/README.md").decode()
    assert "labels checked again | **warning**" in card
    assert "no model of the workspace has its tokenizer on this machine" in card
    config = CONFIG | {"gates": {"labels": {"action": "refuse"}, "shortcuts": {"action": "off"}}}
    refused = send(client, ROWS[:5], config=config).json()["id"]
    assert "labels: The label of 1 of 5 checked pairs does not hold" in finish(refused, "failed")["error"]
    events = client.get(f"/v1/datasets/{refused}/events").json()["data"]
    assert [event["type"] for event in events][-2:] == ["gates_refused", "failed"]


def own(at: int, **changes: Any) -> dict[str, Any]:
    """A row of ``steps_and_full``: its prompt is a question as Errata asks it."""
    told = {"pair_id": f"mine_{at}", "type": "full", "domain": "math", "question": ROWS[at]["prompt"]}
    return told | {"chosen": ROWS[at]["chosen"], "rejected": ROWS[at]["rejected"], "source": "theirs"} | changes


STEP = {"type": "step", "prefix": "First.\n", "error_kind": "operator", "step_index": 1, "form": "consistent"}


@ON_SQLITE
def test_an_imported_dataset_is_mixed_and_filtered(client: CheckedClient, finish: Finish, table: Table) -> None:
    rows = [own(at, **(STEP if at < 6 else {})) for at in range(12)]
    sent = send(client, rows, license="mit", source_url="https://example.org/rows").json()
    assert sent["imported"]["own_prompts"] == 12
    finish(sent["id"])
    body = {"name": "mix", "datasets": [{"id": sent["id"]}]}
    split = {"split": {"test": 0}, "shapes": ["whole", "sft"]}
    made = client.post("/v1/datasets", json={**body, "config": {**split, "kinds": ["operator"], "max_pairs": 9}})
    assert made.status_code == 202, made.text
    done = finish(made.json()["id"])
    manifest = done["manifest"]
    assert manifest["counts"]["pairs"] == 9
    assert manifest["whole"]["pairs"].keys() == {"imported"}
    assert (
        len(table(done["id"], "whole"))
        == manifest["whole"]["pairs"]["imported"]
        == 9 - manifest["counts"]["type"]["step"]
    )
    [told] = manifest["imports"]
    assert (told["dataset"], told["license"], told["source_url"]) == (sent["id"], "mit", "https://example.org/rows")
    again = client.post("/v1/datasets", json={"name": "again", "datasets": [{"id": done["id"]}], "config": split})
    assert again.status_code == 202, "a mix of a mix"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"subjects": ["algebra"]}, "config.subjects"),
        ({"levels": ["5"]}, "config.levels"),
        ({"reviews": "accepted"}, "config.reviews"),
        ({"require_evidence": True}, "config.require_evidence"),
        ({"editors": ["slip"]}, "config.editors"),
        ({"kinds": ["calcluation"]}, "config.kinds.0"),
        ({"sources": ["nobody"]}, "config.sources.0"),
    ]
    for dataset in (sent["id"], done["id"]):
        for config, field in refused:
            answer = client.post("/v1/datasets", json={"name": "m", "datasets": [{"id": dataset}], "config": config})
            assert answer.status_code == 422, (config, answer.text)
            [error] = answer.json()["errors"]
            assert error["field"] == field
            assert error["remedy"]
    other = send(client, ROWS[:3]).json()["id"]
    finish(other)
    answer = client.post("/v1/datasets", json={"name": "mix", "datasets": [{"id": other}]})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "datasets.0.id")
    assert "3 of its 3 prompts are not worded as Errata asks" in error["message"]
    assert "steps_and_full" in error["remedy"]
