"""``/metrics``: what Prometheus' own parser reads, who may read it, and that a scrape is cheap."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from sqlalchemy import event

from api.http.auth import SCOPES, create_key
from api.settings import ApiSettings
from models.outputs import Metric, TrainingRun
from models.session import Database
from models.telemetry.metrics import FUNNEL, STAGES, funnel_leaves, hold_funnel, timed
from models.telemetry.port import PortRefused, metrics_port
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.api.http.test_auth import add_rows

TOKEN = "operators-own-token"
ALLOWED = {"authorization": f"Bearer {TOKEN}"}
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def scraped(make_client: Callable[..., CheckedClient]) -> CheckedClient:
    client = make_client(metrics_token=TOKEN)
    state: Any = client.app
    state.state.stored_metrics._kept_seconds = 0.0
    return client


def scrape(client: CheckedClient) -> Values:
    answer = client.get("/metrics", headers=ALLOWED)
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def at(values: Values, name: str, **labels: str) -> float | None:
    return values.get((name, frozenset(labels.items())))


def test_jobs_shards_training_and_requests(scraped: CheckedClient, database: Database) -> None:
    set_id = post_problems(scraped)
    bring(scraped, set_id)
    job = post_job(scraped, set_id)
    rows = add_rows(database, "ws_default", job["id"])
    with database.begin() as session:
        run = session.get_one(TrainingRun, rows["train"])
        run.state, run.step, run.total_steps = "running", 3, 9
        session.add(Metric(run_id=run.id, step=3, phase="train", values={"loss": 0.5, "tokens": 10}))
    before = scrape(scraped)
    assert at(before, "errata_shards", stage="sample", state="queued") == 1
    assert at(before, "errata_shards_due", stage="sample") == 1
    assert at(before, "errata_jobs", kind="injection_job", state="queued") == 1
    assert at(before, "errata_jobs", kind="training_run", state="running") == 1
    assert at(before, "errata_training_loss", run=rows["train"]) == 0.5
    assert at(before, "errata_training_step", run=rows["train"]) == 3
    assert at(before, "errata_processes", role="grading") == 0
    assert at(before, "errata_leases_overdue") == 0
    assert at(before, "errata_broker_up") == 0, "this client has none"
    assert any(name == "errata_build_info" for name, _ in before)
    for _ in range(2):
        scraped.get(f"/v1/injection-jobs/{job['id']}")
    after = scrape(scraped)
    served = {"method": "GET", "route": "/v1/injection-jobs/{job_id}", "status": "200"}
    assert (at(after, "errata_http_requests_total", **served) or 0) == (
        at(before, "errata_http_requests_total", **served) or 0
    ) + 2
    labels = {name for _, pairs in after for name, _ in pairs}
    assert not labels & {"workspace", "job", "model", "key"}
    text = scraped.get("/metrics", headers={**ALLOWED, "accept": "application/openmetrics-text; version=1.0.0"}).text
    assert list(read_openmetrics(text))


def test_only_the_operators_token_opens_it(local: CheckedClient, make_client: Any, sqlite_database: Database) -> None:
    off = local.get("/metrics", headers=ALLOWED)
    assert off.status_code == 404
    assert "ERRATA_METRICS_TOKEN" in off.json()["detail"]
    local.app.state.api.settings.metrics_token = ApiSettings(metrics_token=TOKEN).metrics_token  # type: ignore[attr-defined]
    with sqlite_database.begin() as session:
        _, key = create_key(session, "k", scopes=SCOPES)
    for header in ({}, {"authorization": f"Bearer {key}"}, {"authorization": TOKEN}, {"authorization": "Bearer é"}):
        sent = {name: value.encode("latin-1") for name, value in header.items()}
        assert local.get("/metrics", headers=sent).status_code == 401
    assert local.get("/metrics", headers=ALLOWED).status_code == 200
    with pytest.raises(ValidationError, match="at least 16 characters"):
        ApiSettings(metrics_token="short")


def test_scrapes_close_together_read_the_database_once(local: CheckedClient, sqlite_database: Database) -> None:
    local.app.state.api.settings.metrics_token = ApiSettings(metrics_token=TOKEN).metrics_token  # type: ignore[attr-defined]
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(sqlite_database.engine, "before_cursor_execute", note)
    local.get("/metrics", headers=ALLOWED)
    first = [statement for statement in statements if statement.startswith("SELECT")]
    assert 0 < len(first) < 12
    assert not any(f"FROM {table}" in statement for statement in first for table in ("pairs", "solutions", "edits"))
    statements.clear()
    local.get("/metrics", headers=ALLOWED)
    assert statements == []


def test_the_funnel_is_counted_when_it_is_committed(sqlite_database: Database) -> None:
    def value() -> float:
        return float(FUNNEL.labels("edits", "no_change")._value.get())

    counts = {"edits": {"total": 3, "rejected": {"no_change": 2, "other": -1}}, "pairs": {"by_type": {"step": 1}}}
    assert list(funnel_leaves(counts)) == [("edits", "no_change", 2), ("pairs", "step", 1)]
    before = value()
    with sqlite_database.begin() as session:
        hold_funnel(session, counts)
        session.rollback()
    assert value() == before
    with sqlite_database.begin() as session:
        hold_funnel(session, counts)
    assert value() == before + 2


def test_errors_are_timed_under_their_type() -> None:
    with pytest.raises(KeyError), timed(STAGES, "grade"):
        raise KeyError("x")
    assert ("grade", "KeyError") in STAGES._metrics


def test_the_port_of_a_process_without_an_api() -> None:
    def status(headers: dict[str, str], path: str = "/metrics") -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
            ) as ok:
                assert list(text_string_to_metric_families(ok.read().decode()))
                return int(ok.status)
        except urllib.error.HTTPError as error:
            return error.code

    with metrics_port("127.0.0.1", 0, TOKEN) as port:
        assert port is not None
        assert [status({}), status(ALLOWED), status(ALLOWED, "/")] == [401, 200, 404]
        with pytest.raises(PortRefused, match="ERRATA_METRICS_PORT"), metrics_port("127.0.0.1", port, TOKEN):
            pass
    with metrics_port("127.0.0.1", 0, None) as port:
        assert status({}) == 200
    with pytest.raises(PortRefused, match="ERRATA_METRICS_TOKEN"), metrics_port("0.0.0.0", 0, None):
        pass
    with metrics_port("0.0.0.0", None, None) as port:
        assert port is None
