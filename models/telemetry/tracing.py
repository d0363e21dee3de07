"""Traces, where the variables of OpenTelemetry ask for them; without them nothing is imported and nothing costs.

One trace leads from a request over the shards that it planned to the calls of engines. Between processes it travels as
W3C trace context: in ``shards.traceparent``, and in the header ``traceparent`` of requests to served models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

Kind = Literal["internal", "server", "client", "consumer"]
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"
_tracing: _Tracing | None = None


class TracingRefused(RuntimeError):
    """The variables ask for traces that this installation cannot send; says what to do."""


class Span:
    """What a block may tell of itself. This one belongs to no trace and takes everything."""

    def set(self, **attributes: Any) -> None:
        """Attributes of the span; None is left out."""

    def rename(self, name: str) -> None:
        """Another name, known only inside."""


_NO_SPAN = Span()


class _RealSpan(Span):
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)


class _Tracing:
    """The parts of OpenTelemetry that are used, imported once."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider, self.tracer = provider, provider.get_tracer("errata")
        self.propagator = TraceContextTextMapPropagator()
        self.kinds = {name: trace.SpanKind[name.upper()] for name in ("internal", "server", "client", "consumer")}

    def context(self, parent: str | None) -> Any:
        return self.propagator.extract({"traceparent": parent}) if parent else None

    def carrier(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self.propagator.inject(found)
        return found


def wanted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the variables of OpenTelemetry ask for traces."""
    given = os.environ if environment is None else environment
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true" or given.get(_EXPORTER) == "none":
        return False
    return bool(given.get(_EXPORTER)) or any(given.get(name) for name in _ENDPOINTS)


def start_tracing(role: str) -> None:
    """Send traces from now on if the variables ask for them; ``role`` names the service unless OTEL_SERVICE_NAME does.

    Raises TracingRefused.
    """
    if not wanted():
        return
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "http/protobuf")
    exporter = os.environ.get(_EXPORTER, "otlp")
    if protocol != "http/protobuf" or exporter != "otlp":
        told = f"{_EXPORTER}={exporter} with protocol {protocol}"
        raise TracingRefused(f"{told} is not supported: traces go by OTLP over HTTP; set otlp and http/protobuf")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise TracingRefused(f"OTEL_* asks for traces, but {error.name} is missing: install errata[otel]") from None
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"errata-{role}"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: Any) -> None:
    """Make spans by this TracerProvider; None: make none."""
    global _tracing
    _tracing = None if provider is None else _Tracing(provider)


def stop_tracing() -> None:
    """Send what is left, and make no more spans."""
    global _tracing
    ended, _tracing = _tracing, None
    if ended is not None:
        ended.provider.shutdown()


@contextmanager
def span(name: str, kind: Kind = "internal", parent: str | None = None, **attributes: Any) -> Iterator[Span]:
    """The block as a span, below ``parent`` (a traceparent) or whatever is open here. Errors are noted and raised.

    ``__`` in the name of an attribute stands for a dot.
    """
    tracing = _tracing
    if tracing is None:
        yield _NO_SPAN
        return
    with tracing.tracer.start_as_current_span(name, context=tracing.context(parent), kind=tracing.kinds[kind]) as made:
        real = _RealSpan(made)
        real.set(**attributes)
        yield real


def traceparent() -> str | None:
    """The open span as W3C trace context; None where there is none."""
    return None if _tracing is None else _tracing.carrier().get("traceparent")


def trace_headers() -> dict[str, str]:
    """Headers that make a request part of the open trace; none where there is no trace."""
    return {} if _tracing is None else _tracing.carrier()
