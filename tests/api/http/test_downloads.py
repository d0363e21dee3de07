"""Downloads over a real socket: cut off anywhere they go on where they stopped, from disk and from object stores."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import random
import secrets
import socket
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn

from api.app import create_app
from api.settings import ApiSettings
from errata_client import Errata
from models.files import FileStore
from models.folders import list_files, write_manifest
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient, KeptHints
from tests.api.outputs import job_with_pairs, set_state

CUTS = 20
CONTENTS = {
    "steps_and_full/train.jsonl": random.Random(1).randbytes(3_000_000),
    "trl/train.jsonl": random.Random(2).randbytes(700_001),
    "README.md": "Grüße\n".encode(),
    "empty/test.jsonl": b"",
}


@pytest.fixture(params=["disk", "object store"])
def files_store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    values: dict[str, Any] = {"ERRATA_HOME": tmp_path / "home"}
    if request.param == "object store":
        values["ERRATA_FILES_URL"] = f"memory://errata-{secrets.token_hex(6)}"
    return StoreSettings(**values)


@pytest.fixture
def dataset_id(sqlite_database: Database, files_store: StoreSettings) -> str:
    """A dataset whose folder was built and published as a freeze does it."""
    app = create_app(sqlite_database, files_store, KeptHints(sqlite_database), ApiSettings())
    client = CheckedClient(app)
    job_id = job_with_pairs(client, sqlite_database)
    row_id = str(client.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).json()["id"])
    files = FileStore(files_store.files)
    with files.scratch() as folder:
        for path, data in CONTENTS.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)
        manifest = {"files": list_files(folder)}
        written = write_manifest(folder, manifest)
        files.publish(folder, f"datasets/{row_id}")
    values = {"folder": f"datasets/{row_id}", "manifest": manifest, "sha256": hashlib.sha256(written).hexdigest()}
    set_state(sqlite_database, Dataset, row_id, JobState.SUCCEEDED, **values)
    return row_id


@pytest.fixture
def served(sqlite_database: Database, files_store: StoreSettings, dataset_id: str) -> Iterator[int]:
    """The port of the application behind uvicorn."""
    app = create_app(sqlite_database, files_store, KeptHints(sqlite_database), ApiSettings())
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def cut_download(port: int, path: str, cuts: list[int]) -> bytes:
    """The body, fetched by connections that are closed at these offsets and resumed there."""
    held, etag = b"", ""
    for cut in [*cuts, None]:
        resume = {"Range": f"bytes={len(held)}-", "If-Range": etag} if held else {}
        answer = get(port, path, **resume)
        assert answer.status == (206 if held else 200)
        assert etag in ("", answer.headers["etag"])
        etag = str(answer.headers["etag"])
        held += answer.read() if cut is None else answer.read(cut - len(held))
        answer.close()
    return held


def test_a_file_cut_off_at_random_offsets_is_the_file(served: int, dataset_id: str) -> None:
    name, data = next(iter(CONTENTS.items()))
    cuts = sorted(random.Random(3).sample(range(1, len(data)), CUTS))
    assert cut_download(served, f"/v1/datasets/{dataset_id}/files/{name}", cuts) == data


def test_an_archive_cut_off_at_random_offsets_is_the_archive(served: int, dataset_id: str) -> None:
    path = f"/v1/datasets/{dataset_id}/archive.zip"
    whole = get(served, path).read()
    cuts = sorted(random.Random(4).sample(range(1, len(whole)), CUTS))
    assert cut_download(served, path, cuts) == whole
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        names = [f"{dataset_id}/{name}" for name in (*sorted(CONTENTS), "manifest.json")]
        assert sorted(archive.namelist()) == sorted(names)
        for name, data in CONTENTS.items():
            assert archive.read(f"{dataset_id}/{name}") == data


def test_an_archive_has_what_a_file_has(served: int, dataset_id: str) -> None:
    url = f"http://127.0.0.1:{served}/v1/datasets/{dataset_id}/archive.zip"
    head = httpx.head(url, headers={"range": "bytes=0-9"})
    whole = httpx.get(url, headers={"want-repr-digest": "sha-256=5"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.content))
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(whole.content).digest()).decode()}:"
    assert whole.headers["repr-digest"] == whole.headers["content-digest"] == digest
    etag = whole.headers["etag"]
    assert httpx.get(url, headers={"if-none-match": etag}).status_code == 304
    part = httpx.get(url, headers={"range": "bytes=-22", "if-range": etag})
    assert (part.status_code, part.content) == (206, whole.content[-22:])
    assert httpx.get(url, headers={"range": "bytes=0-9", "if-range": '"other"'}).content == whole.content
    assert httpx.get(url, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416


def test_a_manifest_without_checksums_gives_the_same_archive(
    served: int, dataset_id: str, sqlite_database: Database
) -> None:
    path = f"/v1/datasets/{dataset_id}/archive.zip"
    whole = get(served, path).read()
    with sqlite_database.begin() as session:
        dataset = session.get_one(Dataset, dataset_id)
        assert dataset.manifest is not None
        plain = [{k: v for k, v in entry.items() if k != "crc32"} for entry in dataset.manifest["files"]]
        dataset.manifest = {**dataset.manifest, "files": plain}
        assert {zlib.crc32(CONTENTS[e["path"]]) for e in plain} == {zlib.crc32(data) for data in CONTENTS.values()}
    assert get(served, path).read() == whole


def test_a_file_that_has_gone_is_told_before_the_archive_begins(
    served: int, dataset_id: str, files_store: StoreSettings
) -> None:
    FileStore(files_store.files).remove(f"datasets/{dataset_id}")
    assert get(served, f"/v1/datasets/{dataset_id}/archive.zip").status == 404
    assert get(served, f"/v1/datasets/{dataset_id}/files/README.md").status == 404


class Cut(httpx.BaseTransport):
    """A network that breaks off every large body after a part of it."""

    def __init__(self, most: int) -> None:
        self._inner, self._most, self.cuts = httpx.HTTPTransport(), most, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if int(answer.headers.get("content-length", 0)) <= self._most:
            return answer
        self.cuts += 1
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Part(answer.stream, self._most))


class Part(httpx.SyncByteStream):
    """The first ``most`` bytes of a stream, and then an error."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield chunk[: self._left]
            self._left -= len(chunk)
            if self._left <= 0:
                raise httpx.ReadError("cut off")

    def close(self) -> None:
        self._stream.close()


def test_the_client_goes_on_as_long_as_something_comes(served: int, dataset_id: str, tmp_path: Path) -> None:
    network = Cut(120_001)
    with Errata(f"http://127.0.0.1:{served}", transport=network) as errata:
        folder = errata.datasets.download(dataset_id, tmp_path / "whole")
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
        assert network.cuts > CUTS
        target = errata.datasets.download_archive(dataset_id, tmp_path / "whole.zip")
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
