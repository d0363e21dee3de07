"""Problem sets from the hub by name: ``huggingface_hub`` itself against a server that speaks the hub's protocol."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from api.app import create_app
from api.http.errors import Invalid, TooLarge, Unavailable
from api.problem_sets.hub import find_files
from api.problem_sets.hub_files import NoSuchPart, choose, choose_converted
from api.problem_sets.schemas import HubSource
from api.settings import ApiSettings
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient, KeptHints
from tests.api.problem_sets.uploading import lines, parquet, problems
from tests.hub_server import TOKEN, HubServer, Repository

GSM8K = [{"question": f"What is {n} + {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"} for n in range(6)]
CARD = b"""---
license: mit
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files: [{split: train, path: socratic/train-*}]
---
# GSM8K
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a dataset of two configs in Parquet, without Xet storage."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with HubServer() as server:
        server.repositories["dataset", "openai/gsm8k"] = Repository(
            private=False,
            files={
                "README.md": CARD,
                "main/train-00000-of-00002.parquet": parquet(GSM8K[:2]),
                "main/train-00001-of-00002.parquet": parquet(GSM8K[2:4]),
                "main/test-00000-of-00001.parquet": parquet(GSM8K[4:5]),
                "socratic/train-00000-of-00001.parquet": parquet(GSM8K[5:]),
            },
        )
        yield server


@pytest.fixture
def settings(hub: HubServer) -> ApiSettings:
    """Of a service that may take from this hub."""
    return ApiSettings(hub_intake=True, hub_endpoint=hub.url, hub_token=SecretStr(TOKEN))


def test_a_split_becomes_a_problem_set_with_licence_and_source(
    hub: HubServer, settings: ApiSettings, sqlite_database: Database, store: StoreSettings
) -> None:
    client = CheckedClient(create_app(sqlite_database, store, KeptHints(sqlite_database), settings))

    def take(dataset: str = "openai/gsm8k", *, split: str = "train", config: str | None = "main", **more: Any) -> Any:
        source = {"dataset": dataset, "config": config, "split": split}
        return client.post("/v1/problem-sets", json={"name": "taken", "hub": source, **more})

    answer = take()
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert [row["question"] for row in problems(client, answer)] == [row["question"] for row in GSM8K[:4]]
    repository = hub.repositories["dataset", "openai/gsm8k"]
    assert made["license"] == "mit"
    assert made["source_url"] == f"{hub.url}/datasets/openai/gsm8k/tree/{repository.sha}"
    repository.files["main/train-00000-of-00002.parquet"] = b"not read again"
    again = take()
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    own = take(split="test", license="GPL", mapping={"question": "question", "gold_solution": "answer"}).json()
    assert (own["license"], own["problem_count"]) == ("GPL", 1)
    refused = take(problems=[])
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "problems")
    # Bad rows of a file are told and left out; what is no file of its kind is named.
    rows = lines({"question": "no answer"}, GSM8K[0])
    hub.repositories["dataset", "me/rows"] = Repository(
        private=True, files={"data/train.jsonl.gz": gzip.compress(rows)}
    )
    told = take("me/rows", config=None).json()
    assert (told["problem_count"], told["rejected_count"], told["license"]) == (1, 1, None)
    hub.repositories["dataset", "me/broken"] = Repository(private=True, files={"train.parquet": b"PAR1 no"})
    broken = take("me/broken", config=None)
    assert (broken.status_code, broken.json()["detail"].partition(": ")[0]) == (400, "train.parquet")


@pytest.mark.parametrize(
    ("source", "field", "told"),
    [
        ({}, "config", "give one of main, socratic"),
        ({"config": "other"}, "config", "give one of main, socratic"),
        ({"config": "main", "split": "dev"}, "split", "give one of train, test"),
        ({"config": "main", "revision": "v9"}, "revision", "give a branch, tag or commit"),
        ({"dataset": "nobody/nothing"}, "dataset", "check its name on the hub"),
        ({"dataset": "../../etc/passwd"}, "dataset", "give owner/name"),
        ({"dataset": "http://127.0.0.1:1/x"}, "dataset", "give owner/name"),
        ({"dataset": "me/closed"}, "dataset", "give the service's operator access to it"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    hub: HubServer, settings: ApiSettings, source: dict[str, Any], field: str, told: str
) -> None:
    hub.repositories["dataset", "me/closed"] = Repository(private=False, gated=True)
    with pytest.raises(Invalid) as refused:
        find_files(settings, HubSource(**{"dataset": "openai/gsm8k", **source}))
    [error] = refused.value.errors
    assert error.field == f"hub.{field}"
    assert error.remedy.startswith(told)


@pytest.mark.parametrize(
    ("changed", "told"), [({"hub_token": None}, "ERRATA_HUB_TOKEN"), ({"hub_intake": False}, "ERRATA_HUB_INTAKE=true")]
)
def test_the_operator_decides_what_the_hub_gives(settings: ApiSettings, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as refused:
        find_files(settings.model_copy(update=changed), HubSource(dataset="openai/gsm8k", config="main"))
    assert told in refused.value.errors[0].remedy


def test_what_the_hub_converted_is_taken_where_the_files_are_of_another_kind(
    hub: HubServer, settings: ApiSettings
) -> None:
    hub.repositories["dataset", "me/script"] = Repository(
        private=False,
        files={"script.py": b"raise SystemExit"},
        branches={"refs/convert/parquet": {"default/train/0000.parquet": parquet(GSM8K)}},
    )
    rows = list(find_files(settings, HubSource(dataset="me/script")).rows([], []))
    assert [row.value for row in rows] == GSM8K
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(Invalid) as refused:
        find_files(settings, HubSource(dataset="me/script", split="test"))
    assert refused.value.errors[0].remedy == "give one of train"


def test_rows_of_several_files_are_numbered_through(settings: ApiSettings) -> None:
    header: list[str] = []
    rows = list(find_files(settings, HubSource(dataset="openai/gsm8k", config="main")).rows([], header))
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert header == ["question", "answer"]


def test_files_larger_than_an_upload_may_be_are_not_fetched(settings: ApiSettings) -> None:
    with pytest.raises(TooLarge, match="larger than 1024 bytes"):
        find_files(settings.model_copy(update={"upload_limit": 1024}), HubSource(dataset="openai/gsm8k", config="main"))


def test_a_hub_that_is_away_says_so(settings: ApiSettings) -> None:
    away = settings.model_copy(update={"hub_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable, match="cannot be reached from the service; try again later, or send the file"):
        find_files(away, HubSource(dataset="openai/gsm8k"))


@pytest.mark.parametrize(
    ("names", "config", "split", "expected"),
    [
        (["train.jsonl", "test.jsonl", "dataset_infos.json"], None, "train", ["train.jsonl"]),
        (["problems.csv"], None, "train", ["problems.csv"]),
        (["a/train-0.parquet", "b/train-0.parquet"], "b", "train", ["b/train-0.parquet"]),
        (["data/train/0.parquet", "data/test/0.parquet"], None, "test", ["data/test/0.parquet"]),
        (["training_set.txt", "constraint.json"], None, "train", ["constraint.json"]),
        (["a/train-0.parquet", "b/train-0.parquet"], None, "train", "config"),
        (["train.jsonl"], "main", "train", "config"),
        (["train.jsonl"], None, "dev", "split"),
        (["README.md", "weights.bin"], None, "train", "split"),
    ],
)
def test_files_are_chosen_by_their_names(
    names: list[str], config: str | None, split: str, expected: list[str] | str
) -> None:
    sizes = dict.fromkeys(names, 1)
    if isinstance(expected, list):
        assert list(choose(sizes, None, config, split).names) == expected
        return
    with pytest.raises(NoSuchPart) as error:
        choose(sizes, None, config, split)
    assert error.value.field == expected


def test_part_of_a_conversion_is_no_split() -> None:
    with pytest.raises(NoSuchPart, match="no split 'train'"):
        choose_converted({"default/partial-train/0000.parquet": 1}, None, "train")
