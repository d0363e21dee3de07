"""Extending ended jobs, limits of jobs in work, and what is told of both."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from api.stop_forecast import forecast_stop
from errata.stopping import StopConfig
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState, ShardState
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.api.outputs import set_state
from tests.api.test_injection_jobs import add_model

BROUGHT = {"sampling": {"source": "brought"}}


def ended(client: TestClient, database: Database, skipped: tuple[int, ...] = (), **config: Any) -> str:
    """A job of five problems, one a shard, that ended; some of its shards were skipped at its limit."""
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id, config={**BROUGHT, "shard_size": 1, **config})["id"])
    end(database, job_id, skipped)
    return job_id


def end(database: Database, job_id: str, skipped: tuple[int, ...] = ()) -> None:
    mine = Shard.injection_job_id == job_id
    with database.begin() as session:
        session.execute(update(Shard).where(mine).values(state=ShardState.DONE))
        left = {"state": ShardState.CANCELLED, "skipped": "accepted_pairs"}
        session.execute(update(Shard).where(mine, Shard.position.in_(skipped)).values(**left))
    set_state(database, InjectionJob, job_id, JobState.SUCCEEDED, stopped="accepted_pairs" if skipped else None)


def positions(database: Database, job_id: str) -> list[int]:
    query = select(Shard.positions).where(Shard.injection_job_id == job_id).order_by(Shard.position)
    with database.read() as session:
        return [position for shard in session.scalars(query) for position in shard]


def extend(client: TestClient, job_id: str, **body: Any) -> Any:
    return client.post(f"/v1/injection-jobs/{job_id}/extend", json=body)


def test_the_rest_of_a_job_is_a_new_job_and_the_same_request_again_is_it(
    client: CheckedClient, database: Database
) -> None:
    job_id = ended(client, database, (1, 4), stop={"accepted_pairs": 3})
    before = client.get(f"/v1/injection-jobs/{job_id}").json()
    assert (before["stopped"], before["progress"]["shards"]["skipped"]) == ("accepted_pairs", 2)
    refused = extend(client, job_id, problems="rest")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "stop")
    answer = extend(client, job_id, problems="rest", stop={"accepted_pairs": 2})
    added = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/injection-jobs/{added['id']}")
    assert (added["extends"], added["extension"], added["state"]) == (job_id, {"problems": "rest"}, "queued")
    assert added["config"] == {**before["config"], "stop": {**before["config"]["stop"], "accepted_pairs": 2}}
    assert positions(database, added["id"]) == [1, 4]
    again = extend(client, job_id, problems="rest", stop={"accepted_pairs": 2})
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (added["id"], "true")
    after = client.get(f"/v1/injection-jobs/{job_id}").json()
    [told] = after.pop("extended_by")
    assert (told["job"], told["extension"], told["state"]) == (added["id"], {"problems": "rest"}, "queued")
    assert told["created_at"]
    assert after == {name: value for name, value in before.items() if name != "extended_by"}, "it stays as it is"
    events = client.get(f"/v1/injection-jobs/{job_id}/events").json()["data"]
    assert events[-1]["sentence"] == f"Job {added['id']} adds to it."
    end(database, added["id"])
    full = extend(client, added["id"], problems="rest", stop={})
    assert (full.status_code, "no problem of its set is left" in full.json()["detail"]) == (409, True)
    repeated = extend(client, job_id, problems="rest", stop={})
    assert (repeated.status_code, added["id"] in repeated.json()["detail"]) == (409, True)


def test_a_retry_leaves_out_what_was_skipped(local: CheckedClient, sqlite_database: Database) -> None:
    job_id = ended(local, sqlite_database, (1, 4))
    refused = local.post(f"/v1/injection-jobs/{job_id}/retry")
    assert (refused.status_code, "lacks no problem" in refused.json()["detail"]) == (409, True)


def test_further_samples_go_on_behind_the_last(local: CheckedClient, sqlite_database: Database) -> None:
    set_id = post_problems(local)
    add_model(sqlite_database)
    job = post_job(local, set_id, language_model="tiny", config={"sampling": {"samples": 3}, "shard_size": 2})
    end(sqlite_database, job["id"])
    for samples, found in ((3, "has 3 samples"), (68, "has 3 samples")):
        refused = extend(local, job["id"], samples=samples)
        assert (refused.status_code, found in refused.json()["errors"][0]["message"]) == (422, True)
        assert "4 to 67" in refused.json()["errors"][0]["remedy"]
    added = extend(local, job["id"], samples=5).json()
    assert (added["config"]["sampling"]["first"], added["config"]["sampling"]["samples"]) == (3, 2)
    assert positions(sqlite_database, added["id"]) == [0, 1, 2, 3, 4]
    end(sqlite_database, added["id"])
    third = extend(local, added["id"], samples=6).json()
    assert (third["config"]["sampling"]["first"], third["config"]["sampling"]["samples"]) == (5, 1)


def test_further_edits_and_problems_of_another_set(local: CheckedClient, sqlite_database: Database) -> None:
    job_id = ended(local, sqlite_database, editing={"edits_per_solution": 2})
    added = extend(local, job_id, edits_per_solution=3).json()
    assert (added["config"]["editing"]["edits_per_solution"], added["config"]["pairs"]["full"]) == (3, False)
    more = [{"question": "What is 50 + 50?", "gold_answer": "100"}, {"question": "What is 1 + 1?", "gold_answer": "2"}]
    other = local.post("/v1/problem-sets", json={"name": "more", "problems": more}).json()["id"]
    lacking = extend(local, job_id, problem_set=other)
    assert lacking.json()["errors"][0]["field"] == "config.sampling.source", "no solutions were brought to it"
    rows = [{"problem": 0, "source": "hand", "text": "50 + 50 = 100\nA: 100"}]
    local.post(f"/v1/problem-sets/{other}/solutions", json={"solutions": rows})
    answer = extend(local, job_id, problem_set=other).json()
    assert (answer["problem_set"], positions(sqlite_database, answer["id"])) == (other, [0]), "1 + 1 was in its own set"


def test_what_cannot_be_extended_is_refused_with_a_remedy(local: CheckedClient, sqlite_database: Database) -> None:
    job_id = ended(local, sqlite_database, editing={"edits_per_solution": 9})
    own = local.get(f"/v1/injection-jobs/{job_id}").json()["problem_set"]
    logic = {"name": "l", "domain": "choice", "problems": [{"question": "Which? (A) 1 (B) 2", "gold_answer": "A"}]}
    for body, field in (
        ({}, "body"),
        ({"samples": 9, "problems": "rest"}, "body"),
        ({"samples": 9}, "samples"),
        ({"edits_per_solution": 9}, "edits_per_solution"),
        ({"problem_set": own}, "problem_set"),
        ({"problem_set": "pset_none"}, "problem_set"),
        ({"problems": "rest", "stop": {"accepted_pairs": 0}}, "stop.accepted_pairs"),
    ):
        refused = extend(local, job_id, **body)
        assert refused.status_code == 422, (body, refused.text)
        assert refused.json()["errors"][0]["field"] == field, body
        assert refused.json()["errors"][0]["remedy"]
    choice = local.post("/v1/problem-sets", json=logic).json()["id"]
    assert "its domain is 'choice'" in extend(local, job_id, problem_set=choice).json()["detail"]
    set_state(sqlite_database, InjectionJob, job_id, JobState.RUNNING)
    assert "once it has ended" in extend(local, job_id, problems="rest").json()["detail"]
    set_state(sqlite_database, InjectionJob, job_id, JobState.SUCCEEDED, prompt_versions={"edit": "of old"})
    assert "prompts have changed" in extend(local, job_id, edits_per_solution=10).json()["detail"]
    asked = {"problem_set": own, "preset": "rules", "config": {"sampling": {"source": "brought", "first": 2}}}
    direct = local.post("/v1/injection-jobs", json=asked)
    assert direct.json()["errors"][0]["field"] == "config.sampling.first"


def test_limits_are_changed_while_a_job_is_in_work(local: CheckedClient, sqlite_database: Database) -> None:
    set_id = post_problems(local)
    bring(local, set_id)
    job = post_job(local, set_id, config={**BROUGHT, "stop": {"accepted_pairs": 3}})
    url = f"/v1/injection-jobs/{job['id']}"
    changed = local.put(f"{url}/stop", json={"accepted_pairs": 9, "generated_tokens": 1000})
    limits = {"accepted_pairs": 9, "generated_tokens": 1000, "prompt_tokens": None, "money": None, "deadline": None}
    assert (changed.status_code, changed.json()["config"]["stop"]) == (202, limits)
    told = local.get(f"{url}/events").json()["data"][-1]["sentence"]
    assert told == "It now stops at 9 pairs, or at 1,000 generated tokens."
    assert local.put(f"{url}/stop", json={"pairs": 9}).json()["errors"][0]["field"] == "pairs"
    set_state(sqlite_database, InjectionJob, job["id"], JobState.RUNNING, stopped="accepted_pairs")
    late = local.put(f"{url}/stop", json={"accepted_pairs": 90})
    assert (late.status_code, "extend the job" in late.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("stop", "limit", "problems", "overshoot"),
    [
        ({"accepted_pairs": 50}, "accepted_pairs", 50, 32),
        ({"accepted_pairs": 50, "generated_tokens": 1000}, "generated_tokens", 10, 32),
        ({"accepted_pairs": 190}, "accepted_pairs", 190, 10),
        ({"accepted_pairs": 900}, None, 200, 0),
    ],
)
def test_an_estimate_says_where_a_job_stops(
    stop: dict[str, int], limit: str | None, problems: int, overshoot: int
) -> None:
    totals = {"accepted_pairs": 200.0, "generated_tokens": 20_000.0, "prompt_tokens": 0.0}
    found = forecast_stop(StopConfig(**stop), totals, 200, 32)  # type: ignore[arg-type]
    assert found is not None
    assert (found.limit, found.problems, found.overshoot) == (limit, problems, overshoot)
    assert forecast_stop(StopConfig(), totals, 200, 32) is None  # type: ignore[arg-type]
