"""Paths that lead out of the file store: in addresses of downloads, by links in stored folders, in file URLs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models.files import FileStore, UnsafePath
from models.folders import list_files, write_manifest
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient
from tests.api.outputs import job_with_pairs, set_state

SECRET = "nobody may read this"
OUTWARD = ["../secret", "..%2Fsecret", "%2e%2e/secret", "a/../../../secret", "/etc/passwd", "%2Fetc%2Fpasswd"]
OUTWARD += ["..%5Csecret", "file:///etc/passwd", "file:%2F%2F%2Fetc%2Fpasswd", "linked", "a%00b", "."]


@pytest.fixture
def dataset_id(local: CheckedClient, sqlite_database: Database, store: StoreSettings) -> str:
    """A dataset whose manifest lists a file that has been replaced by a link out of the store."""
    job_id = job_with_pairs(local, sqlite_database)
    row_id = str(local.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).json()["id"])
    files = FileStore(store.files)
    secret = Path(store.files).parent / "secret"
    with files.scratch() as folder:
        (folder / "README.md").write_text("mine")
        (folder / "linked").write_text("x" * len(SECRET))
        manifest = {"files": list_files(folder)}
        written = write_manifest(folder, manifest)
        files.publish(folder, f"datasets/{row_id}")
    secret.write_text(SECRET)
    stored = files.local_path(f"datasets/{row_id}")
    (stored / "linked").unlink()
    (stored / "linked").symlink_to(secret)
    values = {"folder": f"datasets/{row_id}", "manifest": manifest, "sha256": hashlib.sha256(written).hexdigest()}
    set_state(sqlite_database, Dataset, row_id, JobState.SUCCEEDED, **values)
    return row_id


def test_no_address_leads_out_of_a_dataset(local: CheckedClient, dataset_id: str) -> None:
    assert local.get(f"/v1/datasets/{dataset_id}/files/README.md").text == "mine"
    for path in OUTWARD:
        answer = TestClient.request(local, "GET", f"/v1/datasets/{dataset_id}/files/{path}")
        # A client makes "files/." to "files", which is the list.
        assert answer.status_code in (404, 405, 307) or answer.json()["object"] == "list", (path, answer.status_code)
        assert SECRET not in answer.text
        assert "root:" not in answer.text


def test_an_archive_follows_no_link_out_of_the_store(local: CheckedClient, dataset_id: str) -> None:
    answer = local.get(f"/v1/datasets/{dataset_id}/archive.zip")
    assert answer.status_code == 404
    assert SECRET.encode() not in answer.content


def test_a_store_given_as_a_file_url_keeps_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "up").symlink_to(tmp_path)
    store = FileStore(f"file://{tmp_path / 'files'}")
    for path in ("../secret", "up/secret", "/etc/passwd", "a/../../secret", "file:///etc/passwd/.."):
        with pytest.raises(UnsafePath):
            store.open(path)
        with pytest.raises(UnsafePath):
            store.exists(path)
