"""Traces: OpenTelemetry spans of requests, sent to the collector in the settings.

Without a collector nothing is traced and nothing is sent.
"""

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import InvalidInput, Problem
from serving.settings import DISTRIBUTION

EXTRA = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
PATIENCE_SECONDS = 2.0
FAILURE = 500
UNTOLD: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
"""An error's message may hold a patient's values; spans carry its type only."""

_tracer: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


def require_exporter(collector: str | None) -> None:
    """Refuse a collector that spans cannot be sent to.

    Raises:
        InvalidInput: when its address is none, or the extra ``tracing`` is not installed.

    """
    if collector is None:
        return
    if not collector.startswith(("https://", "http://")):
        problem = Problem(
            "SALVAGE_TRACES", "is no address", "give one as https://collector.example/v1/traces"
        )
        raise InvalidInput("settings", [problem])
    if not all(_installed(name) for name in EXTRA):
        problem = Problem(
            "SALVAGE_TRACES", "needs the extra tracing", "pip install 'salvage-outcomes[tracing]'"
        )
        raise InvalidInput("settings", [problem])


def step(name: str) -> AbstractContextManager[Any]:
    """Time a part of a request that is traced."""
    tracer = _tracer.get()
    return nullcontext() if tracer is None else tracer.start_as_current_span(name, **UNTOLD)


class TracingMiddleware:
    """Wraps the application: a span for each request, continuing the caller's trace.

    A span names method, route, status, the request's id and the type of an error, and nothing else.
    """

    def __init__(self, app: ASGIApp, *, collector: str) -> None:
        self._app = app
        self._provider, self._tracer = _tracing_to(collector)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                self._provider.shutdown()
            return
        parent = _parent(scope["headers"])
        with self._tracer.start_as_current_span("request", parent, SpanKind.SERVER, **UNTOLD) as span:
            _tracer.set(self._tracer)
            await self._traced(span, scope, receive, send)

    async def _traced(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                _describe(span, message)
            await send(message)

        try:
            await self._app(scope, receive, answered)
        except Exception as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            span.update_name(f"{scope['method']} {route}")
            span.set_attributes({"http.request.method": scope["method"], "http.route": route})


def _describe(span: Span, start: Message) -> None:
    span.set_attribute("http.response.status_code", start["status"])
    for name, value in start["headers"]:
        if name == b"x-request-id":
            span.set_attribute("salvage.request_id", value.decode())
    if start["status"] >= FAILURE:
        span.set_status(StatusCode.ERROR)


def _parent(headers: list[tuple[bytes, bytes]]) -> Context:
    """Return the caller's W3C Trace Context without ``tracestate``, which may hold anything."""
    values = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    carrier = {"traceparent": values[0]} if len(values) == 1 else {}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _tracing_to(collector: str) -> tuple[Any, Tracer]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    version = metadata.version(DISTRIBUTION)
    own = Resource.create({"service.name": DISTRIBUTION, "service.version": version})
    provider = TracerProvider(resource=own, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=collector, timeout=PATIENCE_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, provider.get_tracer(DISTRIBUTION, version)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
