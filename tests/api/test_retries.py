"""What of a job went wrong, told and tried again: errors of single problems, shards that failed, cancelled jobs."""

from __future__ import annotations

from sqlalchemy import select, update

from models.jobs import InjectionJob, ProblemError, Shard
from models.session import Database
from models.states import JobState, ShardState
from models.workspaces import ProblemRow
from tests.api.conftest import CheckedClient, KeptHints, bring, post_job, post_problems
from tests.api.outputs import set_state

BROUGHT = {"sampling": {"source": "brought"}}


def ended(client: CheckedClient, database: Database, state: JobState, shards: list[ShardState]) -> str:
    """A job of five problems, one a shard, that ended so."""
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id, config={**BROUGHT, "shard_size": 1})["id"])
    with database.begin() as session:
        for position, became in enumerate(shards):
            mine = (Shard.injection_job_id == job_id) & (Shard.position == position)
            session.execute(update(Shard).where(mine).values(state=became))
    set_state(database, InjectionJob, job_id, state, partial=True)
    return job_id


def put_in_error(database: Database, job_id: str, position: int) -> None:
    with database.begin() as session:
        set_id = session.get_one(InjectionJob, job_id).problem_set_id
        problem = session.scalars(select(ProblemRow.id).filter_by(problem_set_id=set_id, position=position)).one()
        shard = session.scalars(select(Shard.id).filter_by(injection_job_id=job_id, position=position)).one()
        told = {"stage": "prove", "type": "KeyError", "message": "KeyError: 'x'", "trace": "Traceback ..."}
        session.add(ProblemError(shard_id=shard, problem_id=problem, **told))


def new_shards(database: Database, job_id: str) -> list[tuple[int, int, list[int]]]:
    with database.read() as session:
        query = select(Shard).filter_by(injection_job_id=job_id).order_by(Shard.position)
        return [(shard.start, shard.stop, list(shard.positions or [])) for shard in session.scalars(query)]


def test_problems_in_error_are_listed_with_their_error(client: CheckedClient, database: Database) -> None:
    job_id = ended(client, database, JobState.SUCCEEDED, [ShardState.DONE] * 5)
    assert client.get(f"/v1/injection-jobs/{job_id}/failed-problems").json()["data"] == []
    for position in (3, 1):
        put_in_error(database, job_id, position)
    first = client.get(f"/v1/injection-jobs/{job_id}/failed-problems?limit=1").json()
    rest = client.get(f"/v1/injection-jobs/{job_id}/failed-problems?after={first['next']}").json()
    listed = first["data"] + rest["data"]
    assert [row["position"] for row in listed] == [1, 3]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {(row["job"], row["stage"], row["type"], row["message"]) for row in listed} == {
        (job_id, "prove", "KeyError", "KeyError: 'x'")
    }
    assert all(row["problem"].startswith("prob_") and row["trace"] for row in listed)


def test_a_retry_of_an_ended_job_is_a_new_job_for_what_is_missing(
    client: CheckedClient, database: Database, hints: KeptHints
) -> None:
    done, lost = ShardState.DONE, ShardState.QUARANTINED
    job_id = ended(client, database, JobState.FAILED, [done, lost, done, ShardState.CANCELLED, done])
    put_in_error(database, job_id, 4)
    before = client.get(f"/v1/injection-jobs/{job_id}").json()
    answer = client.post(f"/v1/injection-jobs/{job_id}/retry")
    again = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/injection-jobs/{again['id']}"
    assert (again["state"], again["retry_of"], again["config"]) == ("queued", job_id, before["config"])
    assert again["progress"]["problems_total"] == 3
    assert new_shards(database, again["id"]) == [(0, 1, [1]), (0, 1, [3]), (0, 1, [4])]
    assert len(hints.hints) == 5 + 3
    assert client.get(f"/v1/injection-jobs/{job_id}").json() == before, "what has ended stays as it is"
    twice = client.post(f"/v1/injection-jobs/{job_id}/retry")
    assert twice.status_code == 409
    assert again["id"] in twice.json()["detail"]


def test_a_cancelled_retry_is_retried_for_its_own_problems(client: CheckedClient, database: Database) -> None:
    shards = [ShardState.DONE, *[ShardState.QUARANTINED] * 4]
    job_id = ended(client, database, JobState.SUCCEEDED, shards)
    again = client.post(f"/v1/injection-jobs/{job_id}/retry").json()["id"]
    assert client.post(f"/v1/injection-jobs/{again}/cancel").json()["state"] == "cancelled"
    third = client.post(f"/v1/injection-jobs/{again}/retry").json()
    assert third["retry_of"] == again
    assert [positions for *_, positions in new_shards(database, third["id"])] == [[1], [2], [3], [4]]


def test_there_may_be_nothing_to_retry(client: CheckedClient, database: Database) -> None:
    job_id = ended(client, database, JobState.SUCCEEDED, [ShardState.DONE] * 5)
    refused = client.post(f"/v1/injection-jobs/{job_id}/retry")
    assert (refused.status_code, "lacks no problem" in refused.json()["detail"]) == (409, True)
    set_state(database, InjectionJob, job_id, JobState.CANCELLING)
    assert "being cancelled" in client.post(f"/v1/injection-jobs/{job_id}/retry").json()["detail"]


def test_a_job_is_paused_and_resumed(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    url = f"/v1/injection-jobs/{post_job(client, set_id)['id']}"
    assert client.get(url).json()["paused_at"] is None
    assert client.post(f"{url}/resume").status_code == 409
    paused = client.post(f"{url}/pause")
    assert (paused.status_code, paused.json()["state"]) == (202, "queued")
    since = paused.json()["paused_at"]
    assert since
    assert client.post(f"{url}/pause").json()["paused_at"] == since, "twice is as once"
    before = len(hints.hints)
    assert client.post(f"{url}/resume").json()["paused_at"] is None
    assert len(hints.hints) == before + 1
    client.post(f"{url}/cancel")
    assert client.post(f"{url}/pause").status_code == 409
