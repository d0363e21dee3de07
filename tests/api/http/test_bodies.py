"""Bodies that come slowly, many of them at once, and the memory that large ones took."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message

from api.settings import ApiSettings
from models.session import Database
from tests.api.conftest import CheckedClient, KeptHints

Receive = Callable[[], Awaitable[Message]]
Ask = Callable[[Receive], Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]
PART = {"type": "http.request", "body": b"{", "more_body": True}


def asking(client: CheckedClient) -> Ask:
    """Post a chunked body to the application, part by part, as a server would."""

    async def ask(receive: Receive) -> tuple[int, dict[str, Any], dict[str, str]]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [
            (b"host", b"127.0.0.1:8000"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/problem-sets", "raw_path": b"/v1/problem-sets",
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
            "scheme": "http", "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        await client.app(scope, receive, send)
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:])), head

    return ask


def parts(count: int, pause: float) -> Receive:
    """So many parts with a pause before each, and then nothing for ever."""
    left = [count]

    async def receive() -> Message:
        await asyncio.sleep(pause if left[0] else 3600)
        left[0] -= 1
        return dict(PART)

    return receive


@pytest.mark.parametrize(
    ("limits", "receive"),
    [
        ({"body_idle_seconds": 0.05}, parts(0, 0)),
        ({"body_idle_seconds": 0.05}, parts(3, 0.001)),
        ({"body_seconds": 0.1, "body_idle_seconds": 30}, parts(10**6, 0.01)),
    ],
    ids=["nothing comes", "it stops", "it trickles"],
)
def test_a_body_that_does_not_come_in_time_is_refused(
    make_client: Callable[..., CheckedClient], limits: dict[str, float], receive: Receive
) -> None:
    status, document, headers = asyncio.run(asking(make_client(**limits))(receive))
    assert (status, document["type"]) == (408, "urn:errata:problem:request-timeout")
    assert "send it faster, or less at once" in document["detail"]
    assert headers["connection"] == "close"


def test_so_many_bodies_come_at_once_and_no_more(make_client: Callable[..., CheckedClient]) -> None:
    ask = asking(make_client(open_bodies=4))

    async def whole() -> Message:
        return {"type": "http.request", "body": b'{"name": 1}', "more_body": False}

    async def crowd() -> None:
        held, sent = [asyncio.Event() for _ in range(4)], asyncio.Event()

        def slow(asked: asyncio.Event) -> Receive:
            async def receive() -> Message:
                asked.set()
                await sent.wait()
                return await whole()

            return receive

        first = [asyncio.create_task(ask(slow(asked))) for asked in held]
        await asyncio.gather(*(asked.wait() for asked in held))
        more = await asyncio.gather(*(ask(parts(0, 0)) for _ in range(296)))
        assert {(status, headers["retry-after"]) for status, _, headers in more} == {(503, "5")}
        sent.set()
        assert [status for status, *_ in await asyncio.gather(*first)] == [422] * 4, "those that came are read"
        assert (await ask(whole))[0] == 422, "their places are free again"

    asyncio.run(asyncio.wait_for(crowd(), 120))


def test_bodies_that_stop_coming_give_their_places_up(make_client: Callable[..., CheckedClient]) -> None:
    ask = asking(make_client(open_bodies=4, body_idle_seconds=0.05))

    async def often() -> list[int]:
        return [(await ask(parts(1, 0)))[0] for _ in range(6)]

    assert asyncio.run(often()) == [408] * 6


def test_bodies_that_are_there_take_no_place(make_client: Callable[..., CheckedClient]) -> None:
    ask = asking(make_client(open_bodies=1))

    async def whole() -> Message:
        return {"type": "http.request", "body": b'{"name": 1}', "more_body": False}

    async def many() -> list[int]:
        return [status for status, *_ in await asyncio.gather(*(ask(whole) for _ in range(50)))]

    assert set(asyncio.run(many())) == {422}


def test_settings_name_their_limits(database: Database, hints: KeptHints) -> None:
    assert (ApiSettings().body_seconds, ApiSettings().body_idle_seconds, ApiSettings().open_bodies) == (1800, 20, 64)


MEASURED = """
import threading
import psutil
from api.http.memory import trim
me = psutil.Process()
kept = []
def work():
    made = [bytes(700) for _ in range(60_000)]
    kept.append(made[::500])  # one living object in hundreds keeps a heap's end in place
threads = [threading.Thread(target=work) for _ in range(8)]
start = me.memory_info().rss
for thread in threads: thread.start()
for thread in threads: thread.join()
before = me.memory_info().rss
trim()
print((before - start) >> 20, (me.memory_info().rss - start) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_threads_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True, timeout=120)
    kept, left = map(int, done.stdout.split())
    assert kept > 100, "MiB that glibc holds of what was freed"
    assert left < 60
