"""What the asynchronous client does on its own, and what both share, over a replaced network."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from errata_client import AsyncErrata, Errata, ErrataError, RateLimited, ServiceUnreachable
from errata_client._async.downloads import download
from errata_client.records import DatasetFile
from tests.client.test_transport import DATA, EVENTS, FILE, JOB, event, refuse
from tests.client.test_uploads import MADE
from tests.processes import ROOT

Asked = list[httpx.Request]
Answer = Callable[[httpx.Request], httpx.Response] | httpx.Response


def over(*answers: Answer, retries: int = 5) -> tuple[AsyncErrata, Asked]:
    """A client over a script of answers, and what it asked."""
    left, asked = list(answers), []  # type: list[Answer], Asked

    async def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        await request.aread()
        answer = left.pop(0)
        return answer(request) if callable(answer) else answer

    network = httpx.MockTransport(handle)
    return AsyncErrata("http://errata.test", api_key="errata_a_b", transport=network, retries=retries), asked


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


class Cut(httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data
        raise httpx.ReadError("cut")


def test_the_checked_in_client_is_the_generated_one() -> None:
    command = [sys.executable, str(ROOT / "client" / "tools" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_post_is_sent_again_under_the_same_idempotency_key() -> None:
    errata, asked = over(refuse, httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(202, json=JOB))
    job = run(errata.injection_jobs.create("pset_1", preset="rules"))
    assert job.id == "inj_1"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert [request.headers["Authorization"] for request in asked] == ["Bearer errata_a_b"] * 3


def test_retries_end() -> None:
    errata, asked = over(*[refuse] * 2, retries=1)
    with pytest.raises(ServiceUnreachable):
        run(errata.models.list())
    assert len(asked) == 2
    errata, asked = over(httpx.Response(429, headers={"Retry-After": "40000"}))
    with pytest.raises(RateLimited):
        run(errata.models.list())


@pytest.mark.parametrize("name", ["set.jsonl", "set.json"])
def test_a_file_is_sent_and_sent_again_from_its_beginning(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DATA)
    errata, asked = over(httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(201, json=MADE))
    assert run(errata.problem_sets.create("n", str(tmp_path / name))).id == "pset_1"
    for request in asked:
        assert DATA in request.content
        assert int(request.headers["content-length"]) == len(request.content)
    assert len(asked) == 2


BROUGHT = {"problem_set": "pset_1", "received": 3, "added": 3, "existing": 0, "rejected_count": 0, "rejected": []}


def test_rows_of_any_iterable_are_sent_again_whole() -> None:
    errata, asked = over(httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(200, json=BROUGHT))
    rows = ({"problem": at, "source": "é", "text": "x"} for at in range(3))
    assert run(errata.problem_sets.bring_solutions("pset_1", rows)).added == 3
    assert asked[0].content == asked[1].content
    assert [json.loads(line)["problem"] for line in asked[1].content.splitlines()] == [0, 1, 2]
    assert int(asked[1].headers["content-length"]) == len(asked[1].content)


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rest = httpx.Response(206, stream=httpx.ByteStream(DATA[5000:]))
    errata, asked = over(httpx.Response(200, stream=Cut(DATA[:5000])), rest)
    target = run(download(errata._transport, FILE, tmp_path))
    assert target.read_bytes() == DATA
    assert asked[1].headers["Range"] == "bytes=5000-"


def test_a_cut_event_stream_is_resumed_behind_the_last_event() -> None:
    end = 'event: end\ndata: {"state": "succeeded"}\n\n'
    errata, asked = over(
        httpx.Response(202, json=JOB),
        httpx.Response(200, headers=EVENTS, stream=Cut((event(8) + event(9)).encode())),
        httpx.Response(200, headers=EVENTS, text=event(10) + end),
    )

    async def stream() -> list[int]:
        job = await errata.injection_jobs.create("pset_1")
        return [found.id async for found in job.stream(after=7)]

    assert run(stream()) == [8, 9, 10]
    assert [request.headers["Last-Event-ID"] for request in asked[1:]] == ["7", "9"]


def page(*rows: str, after: str | None = None) -> httpx.Response:
    """One page of a list of jobs."""
    data = [{**JOB, "id": row} for row in rows]
    return httpx.Response(200, json={"data": data, "has_more": after is not None, "next": after})


def test_a_list_is_left_and_gone_on_with_behind_its_cursor() -> None:
    def sync(*answers: httpx.Response) -> tuple[Errata, Asked]:
        left, asked = list(answers), []  # type: list[httpx.Response], Asked

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return left.pop(0)

        return Errata("http://errata.test", transport=httpx.MockTransport(handle)), asked

    errata, asked = sync(page("a", "b", after="two"), page("c", after="three"), page("d"))
    jobs = errata.injection_jobs.list(state="failed")
    assert ([next(jobs).id for _ in range(3)], jobs.cursor, len(asked)) == (["a", "b", "c"], "two", 2)
    later, asked = sync(page("c", after="three"), page("d"))
    assert [job.id for job in later.injection_jobs.list(state="failed", after=jobs.cursor)] == ["c", "d"]
    assert [dict(request.url.params)["after"] for request in asked] == ["two", "three"]


def test_a_handle_is_copied_with_its_client_and_pickled_without() -> None:
    errata, _ = over(httpx.Response(202, json=JOB), httpx.Response(200, json=JOB))
    job = run(errata.injection_jobs.create("pset_1"))
    assert run(copy.deepcopy(job).refresh()) == job
    away = pickle.loads(pickle.dumps(job))
    assert away.model_dump() == job.model_dump()
    with pytest.raises(ErrataError, match="get it by its id"):
        run(away.refresh())


DATASET = {
    **{key: JOB[key] for key in ("state", "error", "created_at", "started_at", "finished_at", "partial", "progress")},
    "id": "ds_1", "name": "n", "jobs": [], "config": {}, "sha256": None,
    "manifest": {"rows": {"steps": {"train": 1}, "whole": {"train": 1}}, "default_shape": None},
}  # fmt: skip


def files(**contents: bytes) -> httpx.Response:
    """What a dataset of these files tells of them."""
    rows = [
        DatasetFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), url=f"/{path}").model_dump()
        for path, data in contents.items()
    ]
    return httpx.Response(200, json={"data": rows})


def test_a_frame_of_json_lines_keeps_its_texts(tmp_path: Path) -> None:
    line = b'{"prompt": "7", "date": "2026-01-01", "chosen": "\xc3\xa9"}\n'
    told = files(**{"steps/train.jsonl": line, "whole/train.jsonl": b"{}\n"})
    errata, asked = over(httpx.Response(200, json=DATASET), told, httpx.Response(200, stream=httpx.ByteStream(line)))
    frame = run(errata.datasets.to_pandas("ds_1", "steps", folder=tmp_path))
    assert frame.to_dict("records") == [{"prompt": "7", "date": "2026-01-01", "chosen": "é"}]
    assert [request.url.path for request in asked][2:] == ["/steps/train.jsonl"], "nothing else is downloaded"


@pytest.mark.parametrize(
    ("dataset", "shape", "why"),
    [
        (DATASET, None, "no default shape; say shape= one of steps, whole"),
        (DATASET, "trl", "no shape 'trl'; it has steps, whole"),
        ({**DATASET, "state": "running", "manifest": None}, None, "ds_1 is running and has no files"),
    ],
)
def test_what_a_dataset_cannot_give_is_said(dataset: dict[str, Any], shape: str | None, why: str) -> None:
    errata, _ = over(httpx.Response(200, json=dataset))
    with pytest.raises(ErrataError, match=why):
        run(errata.datasets.to_pandas("ds_1", shape))
