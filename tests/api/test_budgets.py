"""Budgets in money, deadlines and priorities of a job, as requests give them and as its status tells them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from errata.funnel import Funnel
from models.jobs import InjectionJob, JobSummary
from models.session import Database
from models.workspaces import LanguageModel
from tests.api.conftest import CheckedClient, bring, post_problems
from tests.api.test_injection_jobs import add_model
from workers.engines.registry import checked

PRICED = {"path": "/x", "price_prompt": 0.5, "price_completion": 2}
BROUGHT = {"sampling": {"source": "brought"}}


def post(client: CheckedClient, set_id: str, model: str | None = "tiny", **more: Any) -> Any:
    body = {"problem_set": set_id, **({"language_model": model} if model else {}), **more}
    return client.post("/v1/injection-jobs", json=body)


def field_of(answer: Any) -> tuple[int, str, str]:
    [error] = answer.json()["errors"]
    return answer.status_code, error["field"], error["message"]


def test_a_budget_in_money_needs_a_price_and_the_status_tells_what_was_spent(
    client: CheckedClient, database: Database
) -> None:
    set_id = post_problems(client)
    add_model(database, "free", config={"path": "/y"})
    add_model(database, config=checked("transformers", {**PRICED, "currency": "EUR"}))
    status, field, told = field_of(post(client, set_id, "free", config={"stop": {"money": 3}}))
    assert (status, field, "'free' has no price" in told) == (422, "config.stop.money", True)
    assert post(client, set_id, "free").json()["spent"] is None
    job = post(client, set_id, config={"stop": {"money": 3}}).json()
    assert (job["config"]["stop"]["money"], job["spent"]) == (3, {"amount": 0.0, "currency": "EUR"})
    spent = Funnel().add_tokens("sample", 1_000_000, 500_000).add_tokens("edit", 200_000, 100_000, 50_000)
    spent.add("tokens", "sample", "reused", count=10**9)
    with database.begin() as session:
        session.execute(update(JobSummary).where(JobSummary.job_id == job["id"]).values(counts=spent.counts))
        dearer = {**PRICED, "price_completion": 9}
        session.execute(update(LanguageModel).where(LanguageModel.name == "tiny").values(config=dearer))
    told_job = client.get(f"/v1/injection-jobs/{job['id']}").json()
    assert told_job["spent"] == {"amount": 1.8, "currency": "EUR"}, "by the prices it was accepted at"
    assert told_job["progress"]["tokens"]["reused"] == 10**9
    page = client.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"}).text
    assert "1.8 EUR spent" in page


def test_each_model_that_a_job_asks_needs_a_price_in_one_currency(
    local: CheckedClient, sqlite_database: Database
) -> None:
    set_id = post_problems(local)
    bring(local, set_id)
    add_model(sqlite_database, config=checked("transformers", PRICED))
    add_model(sqlite_database, "free", config={"path": "/y"})
    add_model(sqlite_database, "pounds", config=checked("transformers", {**PRICED, "currency": "GBP"}))
    stop = {"stop": {"money": 1}}
    for editor, why in (("free", "'free' has no price"), ("pounds", "GBP and USD")):
        config = {**stop, "editing": {"editor_model": editor}}
        assert why in field_of(post(local, set_id, config=config))[2]
    alone = {**stop, **BROUGHT, "editing": {"editor_model": "pounds"}}
    assert post(local, set_id, None, config=alone).json()["spent"]["currency"] == "GBP"
    none = field_of(post(local, set_id, None, preset="rules", config={**stop, **BROUGHT}))
    assert "asks no language model" in none[2]
    with pytest.raises(ValueError, match="price_prompt"):
        checked("transformers", {"path": "/x", "price_prompt": -1})


def test_limits_given_later_are_held_to_the_same(local: CheckedClient, sqlite_database: Database) -> None:
    set_id = post_problems(local)
    add_model(sqlite_database, "free", config={"path": "/y"})
    add_model(sqlite_database, config=checked("transformers", PRICED))
    free, priced = post(local, set_id, "free").json()["id"], post(local, set_id).json()["id"]
    refused = local.put(f"/v1/injection-jobs/{free}/stop", json={"money": 2})
    assert field_of(refused)[:2] == (422, "money")
    later = {"money": 2.5, "deadline": "2999-01-01T00:00:00+01:00"}
    changed = local.put(f"/v1/injection-jobs/{priced}/stop", json=later)
    assert changed.status_code == 202
    assert changed.json()["config"]["stop"]["money"] == 2.5
    told = local.get(f"/v1/injection-jobs/{priced}/events").json()["data"][-1]["sentence"]
    assert told == "It now stops at 2.5 spent on tokens, or at its deadline 2999-01-01T00:00:00+01:00."
    passed = local.put(f"/v1/injection-jobs/{priced}/stop", json={"deadline": "2020-01-01T00:00:00Z"})
    assert field_of(passed) == (422, "deadline", "this time has passed")
    naive = local.put(f"/v1/injection-jobs/{priced}/stop", json={"deadline": "2999-01-01T00:00:00"})
    assert field_of(naive)[:2] == (422, "deadline")


def test_a_priority_is_one_of_three_and_normal_where_none_is_given(
    local: CheckedClient, sqlite_database: Database
) -> None:
    set_id = post_problems(local)
    bring(local, set_id)
    given = {"preset": "rules", "config": BROUGHT}
    assert post(local, set_id, None, **given).json()["priority"] == "normal"
    high = post(local, set_id, None, **given, priority="high").json()
    assert high["priority"] == "high"
    assert field_of(post(local, set_id, None, **given, priority="urgent"))[:2] == (422, "priority")
    with sqlite_database.read() as session:
        assert session.get_one(InjectionJob, high["id"]).priority == 1
