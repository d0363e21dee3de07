"""Events: lists with cursors, streams that resume, keep alive and end."""

from __future__ import annotations

import json
import threading
from typing import Any

from models.events import record
from models.jobs import InjectionJob
from models.session import Database
from models.states import JobState, move
from models.workspaces import DEFAULT_WORKSPACE
from tests.api.conftest import CheckedClient, bring, post_job, post_problems

STREAM = {"accept": "text/event-stream"}


def job_of(client: CheckedClient) -> str:
    set_id = post_problems(client)
    bring(client, set_id)
    return str(post_job(client, set_id)["id"])


def add_events(database: Database, job_id: str, *kinds: str, end: bool = False) -> None:
    with database.begin() as session:
        for kind in kinds:
            record(session, DEFAULT_WORKSPACE, job_id, kind, text="line\nbreak \u2028 é")
        if end:
            assert move(session, InjectionJob, job_id, JobState.FAILED)


def parse(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_a_list_with_cursors(client: CheckedClient, database: Database) -> None:
    job_id = job_of(client)
    add_events(database, job_id, *"abcd")
    url = f"/v1/injection-jobs/{job_id}/events"
    first = client.get(f"{url}?limit=3").json()
    assert [event["type"] for event in first["data"]] == ["queued", "a", "b"]
    assert first["has_more"]
    rest = client.get(f"{url}?limit=3&after={first['next']}").json()
    assert [event["type"] for event in rest["data"]] == ["c", "d"]
    assert (rest["has_more"], rest["next"]) == (False, None)
    assert client.get("/v1/injection-jobs/inj_none/events").status_code == 404
    assert client.get("/v1/injection-jobs/inj_none/events", headers=STREAM).status_code == 404


def test_a_stream_tells_what_comes_and_ends_with_its_subject(client: CheckedClient, database: Database) -> None:
    job_id = job_of(client)

    def later() -> None:
        add_events(database, job_id, "a", "b")
        add_events(database, job_id, "failed", end=True)

    timer = threading.Timer(0.3, later)
    timer.start()
    answer = client.get(f"/v1/injection-jobs/{job_id}/events", headers=STREAM)
    timer.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = parse(answer.text)
    assert [event["event"] for event in found] == ["queued", "a", "b", "failed", "end"]
    assert json.loads(found[1]["data"])["data"]["text"] == "line\nbreak \u2028 é"
    assert json.loads(found[-1]["data"]) == {"subject": job_id, "state": "failed"}
    ids = [int(event["id"]) for event in found[:-1]]
    assert ids == sorted(ids)
    resumed = client.get(f"/v1/injection-jobs/{job_id}/events", headers={**STREAM, "last-event-id": str(ids[1])})
    assert [event["event"] for event in parse(resumed.text)] == ["b", "failed", "end"]


def test_a_long_history_is_streamed_whole(client: CheckedClient, database: Database) -> None:
    job_id = job_of(client)
    add_events(database, job_id, *[f"e{n}" for n in range(250)])
    add_events(database, job_id, "failed", end=True)
    found = parse(client.get(f"/v1/injection-jobs/{job_id}/events", headers=STREAM).text)
    assert [event["event"] for event in found] == ["queued", *[f"e{n}" for n in range(250)], "failed", "end"]
