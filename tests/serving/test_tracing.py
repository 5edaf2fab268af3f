"""Traces: spans of a real server at a real collector; without one, nothing is sent whatever else is set."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from features.errors import InvalidInput
from serving import tracing
from serving.tracing import PATIENCE_SECONDS, require_exporter
from tests.lib.patients import BREAST
from tests.serving.client import PREDICTIONS, answer, client_of, deploy
from tests.serving.processes import serving, settled

CALLERS = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{CALLERS}-00f067aa0ba902b7-01"
SECRETS = (b"57.1937", b"mrn-1937", b"name-1937", b"state-1937")
OTHERS = {  # what libraries read by themselves
    "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


@contextmanager
def collecting() -> Iterator[tuple[str, list[bytes]]]:
    """Run a collector; yield its address and what it is sent."""
    sent: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()


def spans_of(sent: list[bytes]) -> list[Any]:
    """Return every span that came, the earliest to end first."""
    found = []
    for body in sent:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return sorted(found, key=lambda span: span.end_time_unix_nano)


def attributes_of(span: Any) -> dict[str, Any]:
    kinds = {each.key: each.value for each in span.attributes}
    return {key: value.string_value or value.int_value for key, value in kinds.items()}


@pytest.mark.slow
def test_a_request_is_one_span_with_its_answer_and_its_record_and_names_no_patient(tmp_path: Path, bundle):
    home = deploy(tmp_path, bundle)
    with collecting() as (address, sent):
        with serving(home, SALVAGE_TRACES=f"{address}/v1/traces") as server:
            body = {"patient": BREAST | {"age": 57.1937}, "subject": "mrn-1937"}
            headers = {"traceparent": PARENT, "x-request-id": "r-1", "tracestate": "of=state-1937"}
            assert server.client.post(f"{PREDICTIONS}?of=mrn-1937", json=body, headers=headers).is_success
            assert server.client.get("/v1/models/name-1937").status_code == 404
        settled(lambda: len(spans_of(sent)) >= 4, "the spans were not sent before the end")
    answer, record, request = (
        next(span for span in spans_of(sent) if span.name == name)
        for name in ("answer", "record", f"POST {PREDICTIONS}")
    )
    assert {span.trace_id.hex() for span in (answer, record, request)} == {CALLERS}
    assert {answer.parent_span_id, record.parent_span_id} == {request.span_id}
    assert attributes_of(request) == {
        "http.request.method": "POST",
        "http.route": PREDICTIONS,
        "http.response.status_code": 200,
        "salvage.request_id": "r-1",
    }
    assert "GET /v1/models/{name}" in {span.name for span in spans_of(sent)}
    assert [secret for secret in SECRETS if any(secret in body for body in sent)] == []


@pytest.mark.slow
def test_without_the_setting_nothing_is_sent_whatever_libraries_are_told(tmp_path: Path, bundle):
    home = deploy(tmp_path, bundle)
    with collecting() as (address, sent):
        with serving(home, OTEL_EXPORTER_OTLP_ENDPOINT=address, **OTHERS) as server:
            assert server.ask().is_success
        assert sent == []


@pytest.fixture
def sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send spans in batches of 50 ms, so that some are under way while others are answered."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.mark.usefixtures("sent_at_once")
def test_a_collector_that_never_answers_holds_up_no_answer(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        with client_of(home, traces=address) as client:
            answer(client)
            silent.settimeout(30)
            called, _ = silent.accept()
            with called:
                started = time.monotonic()
                for _ in range(20):
                    answer(client)
                held_up = time.monotonic() - started
    assert held_up < 20 * PATIENCE_SECONDS / 2, "answers wait for the collector"


@pytest.mark.usefixtures("sent_at_once")
def test_a_collector_that_is_away_holds_up_no_answer(home: Path):
    with client_of(home, traces="http://127.0.0.1:9/v1/traces") as client:
        started = time.monotonic()
        for _ in range(20):
            answer(client)
        held_up = time.monotonic() - started
    assert held_up < 20 * PATIENCE_SECONDS / 2, "answers wait for the collector"


@pytest.mark.parametrize("collector", ["collector:4318", "ftp://collector.example", ""])
def test_what_is_no_address_is_refused_at_the_start(collector):
    with pytest.raises(InvalidInput, match="SALVAGE_TRACES: is no address"):
        require_exporter(collector)


def test_without_the_extra_its_name_is_told(monkeypatch):
    monkeypatch.setattr(tracing, "EXTRA", ("no_such_package.trace", "json"))
    require_exporter(None)
    with pytest.raises(InvalidInput, match=r"salvage-outcomes\[tracing\]"):
        require_exporter("https://collector.example/v1/traces")
