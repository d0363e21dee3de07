"""Preference files over HTTP: what is taken, what is told, and what a dataset then holds."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fastapi.testclient import TestClient

from models.files import FileStore
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient
from tests.api.imports.conftest import Finish, Table, lines, send
from tests.api.outputs import set_state
from tests.api.plain_clients import local
from tests.api.test_injection_jobs import add_model

__all__ = ["local"]  # a fixture


def openai_row(at: int, **changes: Any) -> dict[str, Any]:
    """A row as OpenAI's preference fine-tuning takes it."""
    row: dict[str, Any] = {
        "input": {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"Q{at}?"}]},
        "preferred_output": [{"role": "assistant", "content": f"Good {at}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Bad {at}."}],
    }
    return row | changes


def test_an_openai_file_becomes_a_dataset(
    client: CheckedClient, finish: Finish, table: Table, database: Database, store: StoreSettings
) -> None:
    shapes = {"split": {"test": 0}, "shapes": ["whole_openai", "whole_kto_conversational", "trl_conversational"]}
    answer = send(
        client, [openai_row(at) for at in range(4)], config=shapes, license="cc-by-4.0", file_name="theirs.jsonl"
    )
    assert answer.status_code == 202, answer.text
    dataset = answer.json()
    assert (dataset["state"], dataset["jobs"], dataset["imported"]["format"]) == ("queued", [], "openai")
    assert client.get(answer.headers["location"]).json()["id"] == dataset["id"]
    done = finish(dataset["id"])
    pairs = table(dataset["id"], "steps_and_full")
    assert [(row["type"], row["chosen"], row["rejected"]) for row in pairs[:2]] == [
        ("full", "Good 0.", "Bad 0."),
        ("full", "Good 1.", "Bad 1."),
    ]
    assert {row["evidence"] for row in pairs} == {"unproven"}
    assert pairs[0]["prompt_messages"] == openai_row(0)["input"]["messages"]
    assert table(dataset["id"], "whole_openai") == [openai_row(at) for at in range(4)]
    assert len(table(dataset["id"], "whole_kto_conversational")) == 8
    assert [row["completion"][0]["content"] for row in table(dataset["id"], "sft")] == [f"Good {n}." for n in range(4)]
    with database.read() as session:
        folder = session.get_one(Dataset, dataset["id"]).folder
    card = FileStore(store.files).read_bytes(f"{folder}/README.md").decode()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0"
    assert [config["config_name"] for config in head["configs"] if config.get("default")] == ["trl_conversational"]
    for told in ("imported", "theirs.jsonl", dataset["imported"]["file_sha256"], "cc-by-4.0", "unproven"):
        assert told in card
    assert done["manifest"]["imported"]["license"] == "cc-by-4.0"
    page = client.get(f"/datasets/{dataset['id']}")
    assert page.status_code == 200
    assert dataset["imported"]["file_sha256"] in page.text
    assert client.get(f"/v1/datasets/{dataset['id']}/files").json()["data"]


def test_the_same_import_again_is_the_same_dataset(client: CheckedClient, finish: Finish, database: Database) -> None:
    rows = [openai_row(at) for at in range(3)]
    first = send(client, rows)
    again = send(client, rows)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] == finish(first.json()["id"])["id"]
    assert send(client, rows, name="other").json()["id"] != first.json()["id"]
    assert send(client, rows, license="mit").json()["id"] != first.json()["id"]
    # One that ended without files is made anew.
    failed = send(client, rows, name="fails").json()["id"]
    set_state(database, Dataset, failed, JobState.FAILED)
    anew = send(client, rows, name="fails")
    assert (anew.status_code, anew.json()["id"] != failed) == (202, True)


def test_the_same_content_gives_the_same_files(client: CheckedClient, finish: Finish) -> None:
    rows = [openai_row(at) for at in range(30)]
    config = {"split": {"test": 0.3}, "seed": 4}
    first, second = (finish(send(client, rows, name="n", config=config, on_bad_row=how).json()["id"]) for how in BOTH)
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"]
    assert set(first["manifest"]["rows"]["steps_and_full"]) == {"train", "test"}


BOTH = ("report", "refuse")


def test_idempotency_keys(client: CheckedClient, store: StoreSettings) -> None:
    headers = {"Content-Type": "application/jsonl", "Idempotency-Key": "k1"}
    params = {"name": "n", "config": '{"split": {"test": 0}}'}
    one, two = (
        client.post("/v1/datasets/import", content=lines([openai_row(0)]), params=params, headers=headers)
        for _ in range(2)
    )
    assert one.json()["id"] == two.json()["id"]
    other = client.post("/v1/datasets/import", content=lines([openai_row(1)]), params=params, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert len({name.split("/")[0] for name in FileStore(store.files).names("imports")}) == 1


def test_bad_rows_are_counted_by_reason(local: CheckedClient, store: StoreSettings) -> None:
    good = {"prompt": "P", "chosen": "a", "rejected": "b"}
    bad: list[dict[str, Any]] = [
        good | {"chosen": "b"},
        good | {"chosen": "b "},
        good | {"rejected": " \n"},
        good | {"prompt": ""},
        good | {"chosen": 7},
        {"prompt": "P", "chosen": "a"},
        good | {"chosen": "x" * 100_001},
        good | {"prompt": [{"role": "robot", "content": "P"}]},
        good | {"prompt": [{"role": "assistant", "content": "P"}]},
    ]
    rows = [good, *(row for row in bad for _ in range(3))]
    answer = send(local, lines(rows) + b"{broken\n")
    assert answer.status_code == 202, answer.text
    told = answer.json()["imported"]
    assert (told["rows"], told["pairs"], told["rejected_count"]) == (len(rows) + 1, 1, 3 * len(bad) + 1)
    reasons = {entry["reason"]: (entry["count"], entry["lines"]) for entry in told["rejected"]}
    assert reasons["'chosen' and 'rejected' are equal"] == (3, [2, 3, 4])
    assert reasons["'chosen' and 'rejected' differ in white space only"][0] == 3
    assert len(reasons) == len(bad) + 1
    refused = send(local, rows, on_bad_row="refuse")
    assert refused.status_code == 422
    errors = refused.json()["errors"]
    assert len(errors) == len(bad)
    assert "(3 rows)" in errors[0]["message"]
    none = send(local, bad)
    assert (none.status_code, len(none.json()["errors"])) == (422, len(bad))
    staged = FileStore(store.files).names("imports")
    assert len({name.split("/")[0] for name in staged}) == 1, "what is refused leaves nothing behind"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"format": "kto"}, "format"),
    ({"format": "tsv"}, "format"),
    ({"mapping": {"prompt": "instruktion"}}, "mapping.prompt"),
    ({"mapping": {"propmt": "prompt"}}, "mapping"),
    ({"mapping": "prompt"}, "mapping"),
    ({"config": {"split": {"test": 2}}}, "config.split.test"),
    ({"config": {"shapes": ["critique"]}}, "config.shapes.0"),
    ({"config": "[]"}, "config"),
    ({"on_bad_row": "skip"}, "on_bad_row"),
    ({"source_url": "file:///etc/passwd"}, "source_url"),
]


@pytest.mark.parametrize(("change", "field"), REFUSED)
def test_refused_settings_name_their_field(local: CheckedClient, change: dict[str, Any], field: str) -> None:
    answer = send(local, [{"prompt": "P", "chosen": "a", "rejected": "b"}], **change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_unknown_columns_are_named(local: CheckedClient) -> None:
    answer = send(local, [{"q": "P", "good": "a", "bad": "b"}])
    assert answer.status_code == 422
    assert "q, good, bad" in answer.json()["errors"][0]["remedy"]
    mapping = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert send(local, [{"q": "P", "good": "a", "bad": "b"}], mapping=mapping).status_code == 202
    nested = [{"task": {"text": "P"}, "good": "a", "bad": "b"}]
    assert send(local, nested, mapping=mapping | {"prompt": "task.text"}).status_code == 202
    assert send(local, b"").json()["errors"][0]["field"] == "file"


def test_repeated_rows_are_left_out_and_told(local: CheckedClient) -> None:
    row = {"prompt": "P", "chosen": "a", "rejected": "b"}
    told = send(local, [row, row, row | {"score": 3}, row | {"prompt": "R"}]).json()["imported"]
    assert (told["pairs"], told["duplicates"], told["ignored_columns"]) == (2, 2, ["score"])


def test_kto_rows_are_paired_by_prompt(client: CheckedClient, finish: Finish, table: Table) -> None:
    rows = [
        ("P", "w1", False),
        ("P", "r1", True),
        ("Q", "r2", True),
        ("P", "w2", 0),
        ("P", "r3", "true"),
        ("P", "r4", True),
    ]
    sent = [{"prompt": p, "completion": c, "label": label} for p, c, label in rows]
    answer = send(client, sent)
    told = answer.json()["imported"]
    assert (told["pairs"], told["unpaired"]) == (2, {"right": 2, "wrong": 0})
    finish(answer.json()["id"])
    pairs = table(answer.json()["id"], "whole")
    assert [(p["prompt"], p["chosen"], p["rejected"]) for p in pairs] == [("P", "r1", "w1"), ("P", "r3", "w2")]
    alone = send(client, [row for row in sent if row["label"]])
    assert alone.status_code == 422
    assert "no prompt has both" in alone.json()["detail"]
    samples = send(client, sent, format="sft")
    assert samples.json()["imported"]["rejected_count"] == 2, "wrong ones are not imitated"
    assert samples.json()["imported"]["samples"] == 4


def test_samples_alone_train_by_sft_only(client: CheckedClient, finish: Finish, table: Table) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    answer = send(client, [{"messages": talk}])
    done = finish(answer.json()["id"])
    assert list(done["manifest"]["rows"]) == ["sft"]
    row = table(done["id"], "sft")[0]
    assert (row["prompt"], row["completion"]) == (talk[:1], talk[1:])


def files() -> dict[str, tuple[str, bytes]]:
    rows = [{"prompt": f"P{n}", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(5)]
    csv = "prompt,chosen,rejected\n" + "".join(",".join(row.values()) + "\n" for row in rows)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    return {
        "jsonl": ("x.jsonl", lines(rows)),
        "json": ("x.json", json.dumps(rows).encode()),
        "csv": ("x.csv", csv.encode()),
        "parquet": ("x.parquet", parquet.getvalue()),
        "gz": ("x.jsonl.gz", gzip.compress(lines(rows))),
    }


@pytest.mark.parametrize("kind", list(files()))
def test_every_file_format(local: CheckedClient, kind: str) -> None:
    name, data = files()[kind]
    form = {"name": "n", "config": '{"split": {"test": 0}}'}
    answer = local.post("/v1/datasets/import", data=form, files={"file": (name, data)})
    assert answer.status_code == 202, answer.text
    told = answer.json()["imported"]
    assert (told["pairs"], told["file"], told["format"]) == (5, name, "trl")


def test_a_worker_clears_what_ended_imports_left(
    client: CheckedClient, finish: Finish, store: StoreSettings, tmp_path: Path
) -> None:
    first = send(client, [openai_row(1)]).json()["id"]
    finish(first)
    second = send(client, [openai_row(2)]).json()["id"]
    finish(second)
    assert {name.split("/")[0] for name in FileStore(store.files).names("imports")} == {second}


def test_a_table_of_messages(client: CheckedClient, finish: Finish, table: Table) -> None:
    """A table holds messages as JSON text, or as lists of structs."""
    talk = {"chosen": [{"content": "Q", "role": "user"}, {"content": "a", "role": "assistant"}]}
    talk["rejected"] = [talk["chosen"][0], {"content": "b", "role": "assistant"}]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([talk]), parquet)
    texts = {name: json.dumps(value) for name, value in talk.items()}
    for name, data in (("t.parquet", parquet.getvalue()), ("t.jsonl", lines([texts]))):
        form = {"name": name, "config": '{"split": {"test": 0}}'}
        answer = client.post("/v1/datasets/import", data=form, files={"file": (name, data)})
        assert answer.status_code == 202, answer.text
        finish(answer.json()["id"])
        found = table(answer.json()["id"], "whole_conversational")
        assert found == [
            {
                "prompt": [{"role": "user", "content": "Q"}],
                **{s: [{"role": "assistant", "content": c}] for s, c in (("chosen", "a"), ("rejected", "b"))},
            }
        ]


def test_an_objective_without_its_rows_is_refused_at_once(
    client: CheckedClient, finish: Finish, database: Database
) -> None:
    sent = send(client, [{"prompt": "Q", "completion": "a"}]).json()["id"]
    add_model(database)
    finish(sent)
    body = {"dataset": sent, "base_model": "tiny", "output_name": "taught"}
    refused = client.post("/v1/training-jobs", json=body)
    assert refused.status_code == 422
    assert "'sft'" in refused.json()["errors"][0]["remedy"]
    assert client.post("/v1/training-jobs", json=body | {"preset": "sft"}).status_code == 202


def test_a_file_may_be_larger_than_other_bodies(local: CheckedClient) -> None:
    rows = [{"prompt": f"P{at}", "chosen": "a" * 90_000, "rejected": "b"} for at in range(15)]
    assert send(local, rows).json()["imported"]["pairs"] == 15


def test_complaints_name_the_columns_of_the_file(local: TestClient) -> None:
    reply = openai_row(0)["preferred_output"]
    rows = [
        openai_row(1),
        openai_row(2, preferred_output=[{"role": "assistant", "content": ""}]),
        openai_row(3, preferred_output=reply, non_preferred_output=reply),
        openai_row(4, input={**openai_row(4)["input"], "tools": [{"type": "function", "function": {"name": "f"}}]}),
    ]
    told = send(local, rows).json()["imported"]
    assert [(each["reason"], each["lines"]) for each in told["rejected"]] == [
        ("'preferred_output' is empty", [2]),
        ("'preferred_output' and 'non_preferred_output' are equal", [3]),
        ("'input.tools' offers tools, which cannot be trained here", [4]),
    ]
    assert told["pairs"] == 1


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_rows_is_told_as_that(local: TestClient, content: bytes) -> None:
    answer = send(local, content)
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (422, "it holds no rows")
