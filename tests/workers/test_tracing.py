"""One trace from a request over its shards to the calls of engines; without the variables there is none."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.app import create_app
from api.settings import ApiSettings
from errata.types import Message, Prompt
from models.telemetry import tracing
from models.telemetry.metrics import ENGINE_SECONDS, ENGINE_TOKENS
from tests.api.conftest import bring, post_job, post_problems
from tests.workers.injection_jobs import run_shards
from workers.engines.base import Completion, EngineError, GenerationRequest, ModelSpec
from workers.engines.entry_settings import OpenAISettings
from workers.engines.openai_http import Server
from workers.engines.openai_loop import ServerLoop
from workers.engines.pool import EnginePool
from workers.runner import Services

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What was traced, in memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


@pytest.fixture
def posts() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """The address of a server that answers every POST with {}, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}, body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()
    thread.join()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_from_the_request_to_the_shards_stages(services: Services, spans: InMemorySpanExporter) -> None:
    app = create_app(services.db, services.store, services.dispatcher, ApiSettings())
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    set_id = post_problems(client, 1)
    bring(client, set_id, 1)
    client.headers["traceparent"] = CALLER
    job = post_job(client, set_id)
    client.headers.pop("traceparent")
    run_shards(services)
    found = by_name(spans)
    request, stage = found["POST /v1/injection-jobs"], found["shard sample"]
    assert format(request.context.trace_id, "032x") == format(stage.context.trace_id, "032x") == TRACE
    assert stage.parent is not None
    assert stage.parent.span_id == request.context.span_id
    told = dict(stage.attributes or {})
    assert told["errata.job"] == job["id"]
    assert told["errata.outcome"] == "continues" or told["errata.outcome"] == "advanced"
    assert {"shard grade", "shard prove", "shard pair"} <= found.keys()
    assert dict(request.attributes or {})["http.response.status_code"] == 202


def test_requests_to_engines_carry_the_trace(spans: InMemorySpanExporter, posts: Any) -> None:
    url, got = posts
    loop = ServerLoop()
    server = Server(OpenAISettings.model_validate({"base_url": f"{url}/v1", "model": "m"}))
    try:
        with tracing.span("stage", parent=CALLER):
            loop.run(server.post("/completions", {}, Counter()))
    finally:
        loop.close([server.close()])
    call = by_name(spans)["POST /v1/completions"]
    sent = got[0][0]["traceparent"]
    assert sent == f"00-{TRACE}-{call.context.span_id:016x}-01"
    assert call.parent is not None
    assert call.parent.span_id == by_name(spans)["stage"].context.span_id


def test_errors_are_noted(spans: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracing.span("stage"):
        raise KeyError("x")
    assert not by_name(spans)["stage"].status.is_ok


def test_the_variables_start_it_and_a_collector_gets_it(posts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, got = posts
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    tracing.start_tracing("worker")
    try:
        with tracing.span("shard grade", errata__job="inj_1"):
            assert tracing.traceparent() is not None
    finally:
        tracing.stop_tracing()
    assert tracing.traceparent() is None
    assert got[0][0]["path"] == "/v1/traces"
    message = ExportTraceServiceRequest()
    message.ParseFromString(got[0][1])
    resource = message.resource_spans[0]
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "errata-worker"
    assert resource.scope_spans[0].spans[0].name == "shard grade"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True), ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
     ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
     ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False)],
)  # fmt: skip
def test_which_variables_ask_for_it(variables: dict[str, str], wanted: bool) -> None:
    assert tracing.wanted(variables) == wanted


def test_what_cannot_be_sent_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(tracing.TracingRefused, match="set otlp and http/protobuf"):
        tracing.start_tracing("api")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(tracing.TracingRefused, match=r"errata\[otel\]"):
        tracing.start_tracing("api")


def test_without_variables_nothing_is_imported() -> None:
    """We import none of it; FastAPI and redis import its small API themselves where that is installed."""
    code = (
        "import sys, json; from models.telemetry import tracing; tracing.start_tracing('api');"
        "exec('with tracing.span(\"x\"): assert tracing.traceparent() is None and tracing.trace_headers() == {}');"
        "print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry')]))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env={}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


class Answering(EnginePool):
    """A pool whose engine answers at once."""

    def _generate(self, *_: Any) -> list[list[Completion]]:
        return [[Completion("x", "stop", 3, 4, 1), Completion("y", "length", 0, 5)]]


def test_batches_of_engines_are_counted_and_traced(spans: InMemorySpanExporter) -> None:
    def tokens(kind: str) -> float:
        return float(ENGINE_TOKENS.labels("openai", kind)._value.get())

    before = [tokens(kind) for kind in ("prompt", "completion", "cached")]
    request = GenerationRequest(Prompt((Message("user", "?"),), "", "v1"))
    with tracing.span("stage", parent=CALLER):
        Answering().generate(ModelSpec("m", "openai"), [request])
    assert [tokens(kind) for kind in ("prompt", "completion", "cached")] == [
        before[0] + 3,
        before[1] + 9,
        before[2] + 1,
    ]
    batch = by_name(spans)["engine generate"]
    assert format(batch.context.trace_id, "032x") == TRACE
    assert dict(batch.attributes or {})["errata.completion_tokens"] == 9
    with pytest.raises(EngineError):
        EnginePool().generate(ModelSpec("m", "nowhere"), [request])
    assert ("unknown", "generate", "EngineError") in ENGINE_SECONDS._metrics, "no name from outside becomes a label"
