"""Datasets: frozen from finished jobs, downloaded whole and in parts."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from sqlalchemy import select

from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient, KeptHints, bring, post_job, post_problems
from tests.api.outputs import DATA, dataset_with_files, job_with_pairs, set_state


def test_datasets_are_frozen_from_finished_jobs(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    job_id = job_with_pairs(client, database)
    before = len(hints.hints)
    answer = client.post("/v1/datasets", json={"name": "d", "jobs": [job_id], "config": {"split": {"test": 0.5}}})
    assert answer.status_code == 202
    dataset = answer.json()
    assert (dataset["state"], dataset["jobs"], dataset["config"]["split"]["test"]) == ("queued", [job_id], 0.5)
    assert len(hints.hints) == before + 1
    assert client.get(answer.headers["location"]).json()["id"] == dataset["id"]
    assert client.get(f"/v1/datasets/{dataset['id']}/files").status_code == 409
    assert client.get(f"/v1/datasets/{dataset['id']}/files/trl/train.jsonl").status_code == 409
    assert client.get(f"/v1/datasets/{dataset['id']}/events").json()["data"][0]["type"] == "queued"
    assert client.post(f"/v1/datasets/{dataset['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/datasets/{dataset['id']}/cancel").status_code == 409


def test_refused_datasets(client: CheckedClient, database: Database) -> None:
    job_id = job_with_pairs(client, database)
    set_id = post_problems(client)
    bring(client, set_id)
    empty = post_job(client, set_id)["id"]
    good = {"name": "d", "jobs": [job_id]}
    assert client.post("/v1/datasets", json={**good, "jobs": [empty]}).status_code == 409, "still queued"
    set_state(database, InjectionJob, empty, JobState.SUCCEEDED)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"jobs": [empty]}, "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": [set_id]}, "jobs.0"),
        ({"jobs": [job_id, job_id]}, "jobs"),
        ({"jobs": "inj_x"}, "jobs"),
        ({"config": {"jobs": [job_id]}}, "config.jobs"),
        ({"config": {"split": {"test": 1.5}}}, "config.split.test"),
        ({"config": {"spilt": {}}}, "config.spilt"),
        ({"name": "  "}, "name"),
    ]
    for change, field in refused:
        answer = client.post("/v1/datasets", json={**good, **change})
        assert answer.status_code == 422, (change, answer.text)
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), change


def test_filters_are_checked_when_the_dataset_is_asked_for(client: CheckedClient, database: Database) -> None:
    """A misspelt value is refused with the values there are, not frozen to nothing later."""
    job_id = job_with_pairs(client, database)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"kinds": ["calculation", "calcluation"]}, "config.kinds.1"),
        ({"quotas": {"kind": {"calcluation": {"at_most": 1}}}}, "config.quotas.kind.calcluation"),
        ({"sources": ["nobody"]}, "config.sources.0"),
        ({"subjects": ["algebra"]}, "config.subjects.0"),
        ({"levels": ["5"]}, "config.levels.0"),
        ({"forms": ["upright"]}, "config.forms.0"),
        ({"editors": []}, "config.editors"),
        ({"evidence": ["hearsay"]}, "config.evidence.0"),
        ({"distance": {"min": 5, "max": 2}}, "config.distance"),
        ({"distance": {"min": -1}}, "config.distance.min"),
        ({"step_index": {}}, "config.step_index"),
        ({"language": "klingon"}, "config.language"),
        ({"reviews": "maybe"}, "config.reviews"),
        ({"quotas": {"type": {"step": {"at_least": 5, "at_most": 2}}}}, "config.quotas.type.step"),
        ({"quotas": {"colour": {}}}, "config.quotas.colour"),
        ({"balance": "colour"}, "config.balance"),
        ({"max_pairs": 0}, "config.max_pairs"),
        ({"step_pairs_per_problem": 0}, "config.step_pairs_per_problem"),
        ({"job_weights": {job_id: 0}}, f"config.job_weights.{job_id}"),
        ({"job_weights": {"inj_other": 1}}, "config.job_weights"),
        ({"types": ["full"], "distance": {"min": 1}}, "config.distance"),
        ({"distance": {"min": 900}}, "config.distance"),
        ({"step_index": {"min": 99}}, "config.step_index"),
        ({"distance": {"min": 900}, "step_index": {"min": 99}}, "config"),
        ({"quotas": {"type": {"step": {"at_least": 5}}}}, "config.quotas.type.step.at_least"),
        ({"quotas": {"kind": {"calculation": {"at_least": 5}}}}, "config.quotas.kind.calculation.at_least"),
        ({"quotas": {"form": {"consistent": {"at_least": 1}}}}, "config.quotas.form.consistent.at_least"),
        ({"quotas": {"type": {"step": {"at_most": 0}, "full": {"at_most": 0}}}}, "config.quotas.type"),
        ({"types": ["full"], "quotas": {"type": {"full": {"at_most": 0}}}}, "config.quotas.type"),
        ({"datasets": [{"id": "ds_1"}]}, "config.datasets"),
    ]
    for config, field in refused:
        answer = client.post("/v1/datasets", json={"name": "d", "jobs": [job_id], "config": config})
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), (
            config,
            answer.text,
        )
    told = client.post("/v1/datasets", json={"name": "d", "jobs": [job_id], "config": {"kinds": ["calcluation"]}})
    assert "there are: 'calculation'" in told.json()["errors"][0]["remedy"]
    good = {
        "kinds": ["calculation"],
        "sources": ["a"],
        "quotas": {"type": {"step": {"at_most": 5, "at_least": 4}, "full": {"at_most": 0}}},
        "max_pairs": 9,
    }
    assert client.post("/v1/datasets", json={"name": "d", "jobs": [job_id], "config": good}).status_code == 202


def test_a_mix_names_finished_datasets(
    client: CheckedClient, database: Database, store: StoreSettings, hints: KeptHints
) -> None:
    dataset_id = dataset_with_files(client, database, store)
    mix = {"name": "mix", "datasets": [{"id": dataset_id, "weight": 2.5}]}
    made = client.post("/v1/datasets", json=mix).json()
    assert (made["jobs"], made["config"]["datasets"]) == ([], [{"id": dataset_id, "weight": 2.5}])
    with database.read() as session:
        of = [
            set(session.scalars(select(DatasetSource.job_id).filter_by(dataset_id=at)))
            for at in (dataset_id, made["id"])
        ]
    assert of[0] == of[1] != set()
    assert client.post("/v1/datasets", json={"name": "m", "datasets": [{"id": made["id"]}]}).status_code == 409
    refused: list[tuple[dict[str, Any], str]] = [
        ({"datasets": [{"id": "ds_none"}]}, "datasets.0.id"),
        ({"datasets": [{"id": dataset_id, "weight": -1}]}, "datasets.0.weight"),
        ({"datasets": [{"id": dataset_id}, {"id": dataset_id}]}, "datasets"),
        ({"datasets": [], "jobs": []}, "jobs"),
    ]
    for change, field in refused:
        answer = client.post("/v1/datasets", json={**mix, **change})
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), (
            change,
            answer.text,
        )
    with database.begin() as session:
        session.get_one(Dataset, dataset_id).config = {"import": {"pairs": 1}}
    answer = client.post("/v1/datasets", json=mix)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "datasets.0.id")
    assert "imported" in answer.json()["errors"][0]["message"]


RANGES: list[tuple[dict[str, str], int, slice | None]] = [
    ({}, 200, slice(None)),
    ({"range": "bytes=0-99"}, 206, slice(0, 100)),
    ({"range": "bytes=100-"}, 206, slice(100, None)),
    ({"range": "bytes=-7"}, 206, slice(-7, None)),
    ({"range": "bytes=0-99999999999"}, 206, slice(None)),
    ({"range": "bytes=-99999999999"}, 206, slice(None)),
    ({"range": f"bytes={len(DATA)}-"}, 416, None),
    ({"range": "bytes=-0"}, 416, None),
    ({"range": "bytes=9-1"}, 200, slice(None)),
    ({"range": "bytes=0-1,5-6"}, 200, slice(None)),
    ({"range": "lines=0-1"}, 200, slice(None)),
    ({"range": "bytes=-"}, 200, slice(None)),
    ({"range": "bytes=" + "9" * 100 + "-"}, 200, slice(None)),
    ({"range": "bytes=0-9", "if-range": "ETAG"}, 206, slice(0, 10)),
    ({"range": "bytes=0-9", "if-range": '"other"'}, 200, slice(None)),
    ({"range": "bytes=0-9", "if-range": "W/ETAG"}, 200, slice(None)),
    ({"if-none-match": "ETAG"}, 304, None),
    ({"if-none-match": '"a", W/ETAG'}, 304, None),
    ({"if-none-match": '"other"'}, 200, slice(None)),
    ({"if-match": "ETAG"}, 200, slice(None)),
    ({"if-match": '"a", ETAG', "range": "bytes=0-9"}, 206, slice(0, 10)),
    ({"if-match": "*"}, 200, slice(None)),
    ({"if-match": '"other"'}, 412, None),
    ({"if-match": "W/ETAG", "range": "bytes=0-9"}, 412, None),
]


def test_downloads(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    dataset_id = dataset_with_files(client, database, store)
    listed = {file["path"]: file for file in client.get(f"/v1/datasets/{dataset_id}/files").json()["data"]}
    assert set(listed) == {"trl/train.jsonl", "manifest.json"}
    file = listed["trl/train.jsonl"]
    assert (file["bytes"], file["rows"]) == (len(DATA), 7)
    etag = f'"{file["sha256"]}"'
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
    for headers, status, part in RANGES:
        sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
        answer = client.get(file["url"], headers=sent)
        assert answer.status_code == status, headers
        if part is not None:
            assert answer.content == DATA[part], headers
            assert answer.headers["etag"] == etag
            assert answer.headers["repr-digest"] == digest
            assert int(answer.headers["content-length"]) == len(DATA[part])
        assert answer.headers.get("content-digest") == (digest if status == 200 else None)
        if status == 206:
            start = bounds(part)
            assert answer.headers["content-range"] == f"bytes {start[0]}-{start[1] - 1}/{len(DATA)}"
        if status in (412, 416):
            [error] = answer.json()["errors"]
            assert error["field"].lower() in sent
        if status == 416:
            assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    head = client.head(file["url"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(DATA)))
    assert client.get(listed["manifest.json"]["url"]).content == b"{}\n"


def bounds(part: slice | None) -> tuple[int, int]:
    assert part is not None
    start, stop, _ = part.indices(len(DATA))
    return start, stop


def test_only_what_the_manifest_lists_can_be_downloaded(
    client: CheckedClient, database: Database, store: StoreSettings
) -> None:
    dataset_id = dataset_with_files(client, database, store)
    (store.home / "files" / "datasets" / dataset_id / "secret.txt").write_text("secret")
    for path in (
        "secret.txt",
        "trl/",
        "trl",
        "../errata.db",
        "%2e%2e/errata.db",
        "trl%2f..%2fsecret.txt",
        "//etc/passwd",
    ):
        assert client.get(f"/v1/datasets/{dataset_id}/files/{path}").status_code == 404, path
    (store.home / "files" / "datasets" / dataset_id / "trl/train.jsonl").unlink()
    assert client.get(f"/v1/datasets/{dataset_id}/files/trl/train.jsonl").status_code == 404
