"""Campaigns over the real routes and rows; what workers would compute is written by ``World``."""

from __future__ import annotations

import json
import os
import random
import signal
from typing import Any

import pytest
from sqlalchemy import func, select

from models.jobs import InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.session import Database
from models.studies import Campaign, CampaignPart
from models.workspaces import LanguageModel
from tests.api.conftest import CheckedClient
from tests.api.studies.world import World, page_of


def campaign(sets: dict[str, str], **config: Any) -> dict[str, Any]:
    given = {"rounds": 3, "training": {"max_steps": 5, "learning_rate": 1e-4}, "seed": 3, **config}
    named = {"problem_set": sets["problem_set"], "evaluation_set": sets["test_set"], "language_model": "tiny"}
    return {**named, "config": given}


@pytest.mark.parametrize(
    ("rules", "rounds", "stopped"),
    [
        ({}, 3, "rounds"),
        ({"accuracy": 0.9}, 1, "accuracy"),  # greedy: above one half for every problem
        ({"patience": 1}, 2, "patience"),
        ({"min_pairs": 8}, 0, "min_pairs"),
    ],
)
def test_campaigns_and_their_rules(
    client: CheckedClient, database: Database, sets: dict[str, str], rules: dict[str, Any], rounds: int, stopped: str
) -> None:
    answer = client.post("/v1/campaigns", json=campaign(sets, stop=rules))
    assert answer.status_code == 202, answer.text
    World(database).run()
    ended = client.get(answer.headers["location"]).json()
    assert (ended["state"], ended["result"]["stopped"]) == ("succeeded", stopped)
    told = ended["result"]["rounds"]
    assert [row["round"] for row in told] == list(range(rounds + 1))
    bases = {row["made"]["training_job"]: row["language_model"] for row in told[1:]}
    with database.read() as session:
        starts = [session.get_one(LanguageModel, session.get_one(TrainingRun, run).base_model_id).name for run in bases]
    assert starts == [row["language_model"] for row in told[:-1]], "each round begins with the newest model"
    assert f"ended by: {stopped}" in page_of(client, f"/campaigns/{ended['id']}")
    if rounds:
        sampled = next(each for each in told[1]["before"]["temperatures"] if each["temperature"] == 1.0)
        assert sampled["delta"] == pytest.approx(0.2)


def summary(database: Database, campaign_id: str) -> str:
    """What a campaign came to, without ids and times."""
    with database.read() as session:
        row = session.get_one(Campaign, campaign_id)
        result = json.loads(json.dumps(row.result))
        for told in result["rounds"]:
            del told["evaluation"], told["language_model"]
            for name in ("job", "dataset", "training_job", "model"):
                told.get("made", {}).pop(name, None)
        parts = session.scalar(select(func.count()).where(CampaignPart.campaign_id == campaign_id))
        return json.dumps([row.state, result["rounds"], result["stopped"], parts], sort_keys=True)


def made_rows(database: Database) -> list[int]:
    with database.read() as session:
        tables = (CampaignPart, InjectionJob, Dataset, TrainingRun, Evaluation)
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def run_to_death(database: Database, number: int, when: str) -> bool:
    """Go on in a process of its own that is killed before or after its n-th commit. False: it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            own = Database(database.url)
            dialect, calls = own.engine.dialect, [0]
            commit = dialect.do_commit

            def dying(connection: Any) -> None:
                calls[0] += 1
                if calls[0] == number and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                commit(connection)
                if calls[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            dialect.do_commit = dying  # type: ignore[method-assign]
            World(own).run()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_campaign_killed_at_ten_points_ends_like_an_unbroken_one(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    unbroken = client.post("/v1/campaigns", json=campaign(sets)).json()["id"]
    World(database).run()
    once = made_rows(database)
    broken = client.post("/v1/campaigns", json=campaign(sets)).json()["id"]
    database.dispose()  # a forked process must not share its connections
    rng = random.Random(17)
    deaths = sum(run_to_death(database, rng.randint(1, 5), rng.choice(("before", "after"))) for _ in range(10))
    World(database).run()
    assert deaths == 10
    assert summary(database, broken) == summary(database, unbroken)
    assert made_rows(database) == [2 * count for count in once], "nothing was made twice"
