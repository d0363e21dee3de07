"""Polling a status: unchanged is a 304, and the clock alone changes nothing."""

from __future__ import annotations

from sqlalchemy import select

from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.api.outputs import set_state


def test_an_unchanged_status_is_not_sent_again(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    url = f"/v1/injection-jobs/{post_job(client, set_id)['id']}"
    first = client.get(url)
    assert (first.status_code, first.headers["retry-after"]) == (200, "5")
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = client.get(url, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(url, headers={"if-none-match": '"other"'}).json() == first.json()
    # Running: time passes and nothing happens.
    set_state(database, InjectionJob, first.json()["id"], JobState.RUNNING)
    with database.begin() as session:
        job = session.get_one(InjectionJob, first.json()["id"])
        job.started_at = job.created_at
    running = client.get(url, headers={"if-none-match": tag})
    assert running.status_code == 200
    unchanged = client.get(url, headers={"if-none-match": running.headers["etag"]})
    assert unchanged.status_code == 304
    assert running.json()["progress"]["elapsed_seconds"] > 0
    with database.begin() as session:
        shard = session.scalars(select(Shard)).first()
        assert shard is not None
        shard.state = "done"
    moved = client.get(url, headers={"if-none-match": running.headers["etag"]})
    assert (moved.status_code, moved.json()["progress"]["shards"]["done"]) == (200, 1)


def test_an_ended_job_says_nothing_of_asking_again(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    url = f"/v1/injection-jobs/{post_job(client, set_id)['id']}"
    client.post(f"{url}/cancel")
    ended = client.get(url)
    assert ended.json()["state"] == "cancelled"
    assert "retry-after" not in ended.headers
    assert client.get(url, headers={"if-none-match": ended.headers["etag"]}).status_code == 304
