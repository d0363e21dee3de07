"""``/metrics``: what Prometheus' own parser reads, who may read it, and that a scrape is cheap."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from sqlalchemy import event

from api.http.auth import SCOPES, create_key, ensure_workspace
from api.http.routing import Api
from api.metrics import StoredMetrics
from api.settings import ApiSettings
from errata.config import resolve
from models.jobs import InjectionJob
from models.outputs import Metric, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.telemetry.metrics import FUNNEL, STAGES, exposition, funnel_leaves, hold_funnel, timed
from models.telemetry.port import PortRefused, metrics_port
from models.workspaces import ProblemSet
from tests.api.conftest import CheckedClient, KeptHints
from tests.api.http.test_auth import add_rows
from workers.lifecycle import plan_injection

TOKEN = "operators-own-token"
ALLOWED = {"authorization": f"Bearer {TOKEN}"}
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Values:
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def at(values: Values, name: str, **labels: str) -> float | None:
    return values.get((name, frozenset(labels.items())))


def test_what_the_database_says(database: Database, store: StoreSettings) -> None:
    with database.begin() as session:
        ensure_workspace(session)
        session.add(ProblemSet(id="pset", workspace_id="ws_default", name="p", domain="math", content_sha256=""))
        session.flush()
        config = resolve("rules").model_dump(mode="json")
        job = InjectionJob(id="inj_1", workspace_id="ws_default", problem_set_id="pset", config=config)
        session.add(job)
        plan_injection(session, job, 5)
    rows = add_rows(database, "ws_default", "inj_1")
    with database.begin() as session:
        run = session.get_one(TrainingRun, rows["train"])
        run.state, run.step, run.total_steps = "running", 3, 9
        for step in (2, 3):
            metric = Metric(run_id=run.id, step=step, phase="train", values={"loss": step / 4, "tokens": 10})
            metric.created_at = datetime(2026, 1, 1, 0, 0, 5 * step, tzinfo=UTC)
            session.add(metric)
    stored = StoredMetrics(Api.of(database, store, KeptHints(database), ApiSettings()))
    found = read(exposition("", stored)[0].decode())
    assert at(found, "errata_shards", stage="sample", state="queued") == 1
    assert at(found, "errata_shards_due", stage="sample") == 1
    assert at(found, "errata_queue_shards", queue="generation") == 1
    assert at(found, "errata_queue_shards", queue="grading") == 0, "a queue without work is 0, not absent"
    assert at(found, "errata_jobs", kind="injection_job", state="queued") == 1
    assert at(found, "errata_jobs", kind="training_run", state="running") == 1
    assert at(found, "errata_training_loss", run=rows["train"]) == 0.75
    assert at(found, "errata_training_tokens_per_second", run=rows["train"]) == 2.0
    assert at(found, "errata_training_step", run=rows["train"]) == 3
    assert at(found, "errata_processes", role="grading") == 0
    assert at(found, "errata_leases_overdue") == at(found, "errata_webhooks_pending") == 0
    assert at(found, "errata_broker_up") == 0, "there is none"
    assert any(name == "errata_build_info" for name, _ in found)


def test_requests_are_counted_and_only_the_operators_token_opens_it(
    local: CheckedClient, sqlite_database: Database
) -> None:
    off = local.get("/metrics", headers=ALLOWED)
    assert off.status_code == 404
    assert "ERRATA_METRICS_TOKEN" in off.json()["detail"]
    local.app.state.api.settings.metrics_token = ApiSettings(metrics_token=TOKEN).metrics_token  # type: ignore[attr-defined]
    statements: list[str] = []
    event.listen(sqlite_database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    before = read(local.get("/metrics", headers=ALLOWED).text)
    first = [statement for statement in statements if statement.startswith("SELECT")]
    assert 0 < len(first) < 12
    assert not any(f"FROM {table}" in statement for statement in first for table in ("pairs", "solutions", "edits"))
    statements.clear()
    for _ in range(2):
        local.get("/v1/injection-jobs/inj_none")
    asked = len(statements)
    after = read(local.get("/metrics", headers=ALLOWED).text)
    assert len(statements) == asked, "scrapes close together read the database once"
    served = {"method": "GET", "route": "/v1/injection-jobs/{job_id}", "status": "404"}
    counts = [at(values, "errata_http_requests_total", **served) or 0 for values in (before, after)]
    assert counts[1] == counts[0] + 2
    assert not {name for _, pairs in after for name, _ in pairs} & {"workspace", "job", "model", "key"}
    text = local.get("/metrics", headers={**ALLOWED, "accept": "application/openmetrics-text; version=1.0.0"}).text
    assert list(read_openmetrics(text))
    with sqlite_database.begin() as session:
        _, key = create_key(session, "k", scopes=SCOPES)
    for header in ({}, {"authorization": f"Bearer {key}"}, {"authorization": TOKEN}, {"authorization": "Bearer é"}):
        sent = {name: value.encode("latin-1") for name, value in header.items()}
        assert local.get("/metrics", headers=sent).status_code == 401
    with pytest.raises(ValidationError, match="at least 16 characters"):
        ApiSettings(metrics_token="short")


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
