"""What HTTP can put on the broker: hints of shards that exist, whatever names, ids and headers a client gives."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import select

from api.app import create_app
from api.settings import ApiSettings
from models.jobs import Shard
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import RULES, CheckedClient, bring, post_job, post_problems
from workers.app import RUN_SHARD, create_celery
from workers.dispatch import QUEUES, Dispatcher
from workers.worker import register

MARK = "owned-by-a-client"
#: Names of tasks that Celery itself brings, messages, commands of Redis, pickles and templates.
HOSTILE = (
    f"celery.backend_cleanup {MARK}",
    f"celery.starmap\r\n*1\r\n$8\r\nFLUSHALL\r\n{MARK}",
    json.dumps({"task": "os.system", "args": [f"touch {MARK}"], "id": MARK, "headers": {"task": MARK}}),
    f"cos\nsystem\n(S'touch {MARK}'\ntR.",
    f"{{{{ config }}}} ${{{MARK}}} _kombu.binding.{MARK}",
)

pytestmark = pytest.mark.services


@pytest.fixture
def client(sqlite_database: Database, store: StoreSettings, broker_url: str) -> CheckedClient:
    """A client of an application that sends its hints to a Redis."""
    return CheckedClient(
        create_app(sqlite_database, store, Dispatcher(create_celery(broker_url)), ApiSettings()),
        headers={"traceparent": f"00-{MARK}-01", "x-request-id": MARK, "celery-task": MARK, "task": MARK},
    )


def messages(broker_url: str) -> dict[str, list[dict[str, Any]]]:
    """What lies on the broker, by key; what is no list of messages fails."""
    with Redis.from_url(broker_url) as redis:
        found: dict[str, list[dict[str, Any]]] = {}
        for key in sorted(name.decode() for name in redis.scan_iter()):
            if redis.type(key) == b"list":
                found[key] = [json.loads(each) for each in redis.lrange(key, 0, -1)]
            else:
                assert key.startswith("_kombu.binding"), key
                assert MARK not in str(redis.smembers(key))
    return found


def test_nothing_but_hints_of_real_shards_reaches_the_broker(
    client: CheckedClient, sqlite_database: Database, broker_url: str
) -> None:
    for at, text in enumerate(HOSTILE):
        row = {"question": text, "gold_answer": "1", "id": f"{text[:40]}{at}".replace("\r\n", " ")}
        set_id = post_problems(client)
        client.post("/v1/problem-sets", json={"name": text[:200], "problems": [row]})
        bring(client, set_id)
        job = post_job(client, set_id, name=text[:200])
        for act in ("pause", "resume", "cancel", "retry"):
            client.post(f"/v1/injection-jobs/{job['id']}/{act}", json={})
        client.post("/v1/datasets", json={"name": text[:200], "jobs": [job["id"]]})
        for wrong in ("task", "args", "queue", "kwargs", "id", "routing_key"):
            body = {"problem_set": set_id, **RULES, wrong: text}
            assert client.post("/v1/injection-jobs", json=body).status_code == 422
        client.post("/v1/rejudgings", json={"job": text})
        client.post("/v1/evaluations", json={"model": text, "problem_set": text})
        client.get(f"/v1/injection-jobs/{MARK}")
    with sqlite_database.read() as session:
        shards = set(session.scalars(select(Shard.id)))
    found = messages(broker_url)
    assert set(found) <= set(QUEUES)
    hints = [(queue, message) for queue, some in found.items() for message in some]
    assert len(hints) >= len(HOSTILE)
    for queue, message in hints:
        assert message["content-type"] == "application/json"
        assert message["headers"]["task"] == RUN_SHARD
        arguments, named, embedded = json.loads(base64.b64decode(message["body"]))
        assert arguments[0] in shards
        assert arguments[1:] in ([], [queue])
        assert named == {}
        assert not any(embedded.values()), "no chain, chord or callback"
        assert MARK not in json.dumps([message, arguments])


def test_a_worker_runs_no_task_but_its_own() -> None:
    """Of Celery's own, ``map`` and ``chunks`` call other tasks: there is one to call, which takes a shard's id."""
    app = create_celery("memory://")
    register(app, cast(Any, None))  # nothing is run
    assert {name for name in app.tasks if not name.startswith("celery.")} == {RUN_SHARD}
    assert app.conf.accept_content == ["json"]
    assert not app.conf.worker_enable_remote_control
