"""Metrics: what was asked, answered and taken up, without a patient or a client."""

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.lib.patients import BREAST
from tests.serving.client import MODEL, PREDICTIONS, ask, client_of


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return each sample by its name and its labels' values."""
    return {
        (one.name, " ".join(one.labels[name] for name in sorted(one.labels))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_requests_predictions_and_models_are_counted(client):
    for patient in (BREAST, BREAST, {"disease": "nope"}):
        ask(client, patient)
    client.get("/v1/models/nope")
    client.get("/nope")
    lines = b"\n".join([b'{"patient": {"disease": "breast_cancer"}}'] * 3 + [b"no JSON"])
    client.post("/v1/batches", content=lines, headers={"content-type": "application/jsonl"})
    found = samples(client.get("/metrics").text)
    assert found["salvage_requests_total", f"{PREDICTIONS} 200"] == 2
    assert found["salvage_requests_total", f"{PREDICTIONS} 422"] == 1
    assert found["salvage_requests_total", "/v1/models/{name} 404"] == 1
    assert found["salvage_requests_total", "unknown 404"] == 1
    assert found["salvage_predictions_total", f"{MODEL} 1"] == 2 + 3
    assert found["salvage_model_taken_up", f"{MODEL} 1"] == 1
    assert found["salvage_request_seconds_count", PREDICTIONS] == 3
    assert found["salvage_request_seconds_sum", PREDICTIONS] > 0


def test_a_name_in_a_path_never_becomes_a_label(client):
    for number in range(50):
        client.get(f"/v1/models/made-up-{number}")
        client.get(f"/made-up-{number}")
        client.request(f"MADEUP{number}", "/v1/models")
    text = client.get("/metrics").text
    assert "made-up" not in text
    assert "MADEUP" not in text


def test_what_is_shown_names_neither_patient_nor_client(client):
    ask(client, BREAST, subject="patient-1937")
    shown = client.get("/metrics")
    assert shown.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert not re.search("1937|demo", shown.text)


def test_metrics_need_no_key(home):
    with client_of(home, access=None) as client:
        assert ask(client).status_code == 401
        found = samples(client.get("/metrics").text)
    assert found["salvage_requests_total", f"{PREDICTIONS} 401"] == 1
