"""What became of a job's problems, and why: listed, filtered, paged."""

from __future__ import annotations

from models.session import Database
from tests.api.conftest import CheckedClient
from tests.api.outputs import OUTCOMES, graded_job


def test_suspected_labels_are_listed_with_what_the_samples_say(client: CheckedClient, database: Database) -> None:
    job = graded_job(client, database)
    path = f"/v1/injection-jobs/{job['id']}/problems"
    rows = client.get(path).json()["data"]
    assert [row["reason"] for row in rows] == OUTCOMES, "in posting order"
    assert [row["outcome"] for row in rows] == ["kept", "dropped", "kept", "dropped", "dropped"]
    [suspect] = client.get(path, params={"reason": "label_suspect"}).json()["data"]
    assert (suspect["question"], suspect["gold_answer"]) == ("What is 1 + 1?", "2")
    assert (suspect["answers"], suspect["external_id"]) == ({"3": 3}, "sum-1")
    assert len(client.get(path, params={"outcome": "dropped"}).json()["data"]) == 3
    first = client.get(path, params={"limit": 2, "outcome": "dropped"}).json()
    rest = client.get(path, params={"limit": 2, "outcome": "dropped", "after": first["next"]}).json()
    assert [row["position"] for row in first["data"] + rest["data"]] == [1, 3, 4]
    assert client.get(path, params={"outcome": "lost"}).status_code == 422
    assert client.get(path, params={"verdict": "x"}).status_code == 422
    assert client.get("/v1/injection-jobs/inj_unknown/problems").status_code == 404
