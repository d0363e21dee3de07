"""What the client does when things go wrong on the way: the network is replaced, the client is not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from errata_client import DigestMismatch, Errata, ErrataError, RateLimited, ServerError, ServiceUnreachable
from errata_client.downloads import download
from errata_client.records import DatasetFile

Answer = Callable[[httpx.Request], httpx.Response]


class Script(httpx.BaseTransport):
    """Answers requests one after the other and keeps what was asked."""

    def __init__(self, *answers: Answer | httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.asked.append(request)
        answer = self.answers.pop(0)
        return answer(request) if callable(answer) else answer


def refuse(request: httpx.Request) -> httpx.Response:
    """No connection."""
    raise httpx.ConnectError("refused", request=request)


def client(script: Script, retries: int = 5) -> Errata:
    """A client over a script."""
    return Errata("http://errata.test", api_key="errata_a_b", transport=script, retries=retries)


JOB = {
    "id": "inj_1",
    "state": "succeeded",
    "error": None,
    "created_at": "2026-01-01T00:00:00Z",
    "started_at": None,
    "finished_at": None,
    "name": None,
    "partial": False,
    "problem_set": "pset_1",
    "language_model": None,
    "preset": "rules",
    "config": {},
    "progress": {
        "fraction": 1.0,
        "shards": {"total": 0, "queued": 0, "running": 0, "done": 0, "quarantined": 0, "cancelled": 0},
        "problems_done": 0,
        "problems_total": 0,
    },
    "a_field_of_a_newer_service": 1,
}


def test_a_post_is_sent_again_under_the_same_idempotency_key() -> None:
    script = Script(refuse, httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(202, json=JOB))
    job = client(script).injection_jobs.create("pset_1", preset="rules")
    assert job.id == "inj_1"
    assert len({request.headers["Idempotency-Key"] for request in script.asked}) == 1
    assert [request.headers["Authorization"] for request in script.asked] == ["Bearer errata_a_b"] * 3


def test_two_posts_have_two_keys() -> None:
    script = Script(httpx.Response(202, json=JOB), httpx.Response(202, json=JOB))
    with client(script) as errata:
        for _ in range(2):
            errata.injection_jobs.create("pset_1")
    assert len({request.headers["Idempotency-Key"] for request in script.asked}) == 2


def test_retries_end() -> None:
    script = Script(*[refuse] * 3)
    with pytest.raises(ServiceUnreachable):
        client(script, retries=2).models.list()
    assert len(script.asked) == 3
    script = Script(*[httpx.Response(429, headers={"Retry-After": "0"}) for _ in range(2)])
    with pytest.raises(RateLimited):
        client(script, retries=1).models.list()
    script = Script(httpx.Response(429, headers={"Retry-After": "40000"}))  # a quota of the day: no use to wait here
    with pytest.raises(RateLimited):
        client(script, retries=3).models.list()
    assert len(script.asked) == 1


def test_an_error_that_is_no_problem_document_is_told_as_text() -> None:
    with pytest.raises(ServerError, match="500 proxy says no"):
        client(Script(httpx.Response(500, text="proxy says no"))).models.list()


class Cut(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data
        raise httpx.ReadError("cut")


DATA = bytes(range(256)) * 64
FILE = DatasetFile(path="a/b.jsonl", bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), url="/v1/files/x")


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    script = Script(
        httpx.Response(200, stream=Cut(DATA[:5000])), httpx.Response(206, stream=httpx.ByteStream(DATA[5000:]))
    )
    target = download(client(script)._transport, FILE, tmp_path)
    assert target.read_bytes() == DATA
    assert script.asked[1].headers["Range"] == "bytes=5000-"
    assert script.asked[1].headers["If-Range"] == f'"{FILE.sha256}"'


def test_a_file_that_changed_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jsonl.part").write_bytes(b"old")
    target = download(client(Script(httpx.Response(200, stream=httpx.ByteStream(DATA))))._transport, FILE, tmp_path)
    assert target.read_bytes() == DATA


def test_a_wrong_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        download(client(Script(httpx.Response(200, stream=httpx.ByteStream(DATA[::-1]))))._transport, FILE, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", ""])
def test_a_service_cannot_write_outside_the_folder(path: str, tmp_path: Path) -> None:
    with pytest.raises(ErrataError, match="outside"):
        download(client(Script())._transport, FILE.model_copy(update={"path": path}), tmp_path)


EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


def event(number: int) -> str:
    """One event of a stream."""
    body = f'{{"id": {number}, "subject": "inj_1", "type": "x", "data": {{}}, "created_at": "2026-01-01T00:00:00Z"}}'
    return f"id: {number}\nevent: x\ndata: {body}\n\n"


def test_a_cut_event_stream_is_resumed_behind_the_last_event() -> None:
    end = 'event: end\ndata: {"state": "succeeded"}\n\n'
    script = Script(
        httpx.Response(200, headers=EVENTS, stream=Cut((event(1) + event(2)).encode())),
        httpx.Response(200, headers=EVENTS, text=": heartbeat\n\n" + event(3) + end),
    )
    assert [found.id for found in client(script).injection_jobs.follow("inj_1")] == [1, 2, 3]
    assert [request.headers["Last-Event-ID"] for request in script.asked] == ["0", "2"]
