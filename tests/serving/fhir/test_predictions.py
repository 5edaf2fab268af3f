"""A Bundle in, a RiskAssessment out: what it says, what it stands on, and what is refused."""

import json
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from features.dictionary import load_dictionary
from models.bundle.bundle import ModelBundle
from serving.fhir.export import fhir_bundle_of
from serving.fhir.provenance import provenance
from serving.wording import rationale, unseen_categories
from tests.lib.patients import BREAST
from tests.node import medplum
from tests.serving.fhir import charts
from tests.serving.fhir.charts import ANNA, RELAPSE, bundle, relapsed
from tests.serving.fhir.service import PUBLIC, TODAY, Service

URL = "/v1/fhir/predictions"
FHIR = "application/fhir+json"
NODES, GRADE = (load_dictionary()[name].label for name in ("positive_lymph_nodes", "tumour_grade"))


def assess(fhir, *resources, expect=200, **options):
    response = fhir.post(URL, json=bundle(*resources), **options)
    assert response.status_code == expect, response.text
    assert response.headers["content-type"] == FHIR
    return response.json()


@pytest.fixture(scope="module")
def assessment(fhir):
    return assess(fhir, *relapsed())


def test_says_in_per_cent_what_the_model_answers_and_from_when(
    assessment, served: Service, bundle: ModelBundle
):
    content = orjson.loads(served.log.get(assessment["id"]).content)
    (endpoint,) = content["prediction"]["endpoints"]
    (outcome,) = endpoint["outcomes"]
    points = [p for p in assessment["prediction"] if "probabilityDecimal" in p]
    ranges = [p for p in assessment["prediction"] if "probabilityRange" in p]
    answered = [p for p in outcome["probabilities"] if p["probability"] is not None]
    assert len(answered) == len(points) == len(ranges) > 1
    for stated, point, interval in zip(answered, points, ranges, strict=True):
        assert point["probabilityDecimal"] == pytest.approx(100 * stated["probability"], abs=0.05)
        bounds = interval["probabilityRange"]
        assert bounds["low"]["value"] == pytest.approx(100 * stated["low"], abs=0.05)
        assert bounds["high"]["value"] == pytest.approx(100 * stated["high"], abs=0.05)
        assert interval["whenPeriod"] == point["whenPeriod"]
        assert point["whenPeriod"]["start"] == RELAPSE.isoformat()
    assert [p["whenPeriod"]["end"] for p in points][:2] == ["2025-03-31", "2026-03-31"]


def test_names_the_resources_that_the_predictors_were_read_from_and_no_others(assessment, fhir):
    assert {r["reference"] for r in assessment["basis"]} == {
        ANNA,
        "Condition/cancer",
        f"Observation/o-{charts.STATUS}",
        f"Observation/o-{charts.NODES}",
        "MedicationAdministration/given",
    }
    assert assessment["condition"] == {"reference": "Condition/cancer"}
    albumin = charts.observation("1751-7", RELAPSE, valueQuantity={"value": 41, "code": "g/L"})
    unused = assess(fhir, *relapsed(), albumin)
    assert {r["reference"] for r in unused["basis"]} == {r["reference"] for r in assessment["basis"]}


def test_names_the_model_the_record_and_the_evidence(assessment, served: Service):
    entry = served.log.get(assessment["id"])
    stamp = entry.facts["model"]
    (device,) = assessment["contained"]
    assert assessment["performer"] == {"reference": f"#{device['id']}"}
    assert device["identifier"][0]["value"] == stamp["bundle"]
    assert device["version"] == [{"value": stamp["version"]}]
    notes = " ".join(note["text"] for note in assessment["note"])
    assert entry.leaf_hash in notes
    assert stamp["bundle"] in notes
    assert "simulated" in assessment["mitigation"]
    assert assessment["meta"]["security"][0]["code"] == "HTEST"


def test_explains_one_horizon_with_at_most_five_contributions_called_associations(assessment):
    explained = [p for p in assessment["prediction"] if "rationale" in p]
    assert len(explained) == 1
    said = explained[0]["rationale"]
    assert "Bowel" not in said, "a field of another disease is no reason"
    assert 1 <= said.count(" points;") + said.count(" points.") <= 5
    assert "associations, not effects" in said


def test_gives_no_reason_for_a_value_that_is_not_known_and_says_what_they_add_together(
    assessment, served: Service
):
    (said,) = [p["rationale"] for p in assessment["prediction"] if "rationale" in p]
    prediction = orjson.loads(served.log.get(assessment["id"]).content)["prediction"]
    scale = prediction["endpoints"][0]["outcomes"][0]["explanation"]["scales"][0]
    unknown = [c["label"] for c in scale["contributions"] if c["value"] is None]
    assert GRADE in unknown
    assert not any(label in said for label in unknown)
    assert f"{NODES} (4" in said
    (together,) = [g["contribution"] for g in scale["groups"] if g["group"] == "not_known"]
    assert f"What is not known adds {100 * together:+.1f} points and widens the interval." in said


def test_a_category_that_no_training_patient_had_is_no_reason(bundle: ModelBundle):
    seen = {name: dict(by) for name, by in bundle.applicability.categories["breast_cancer"].items()}
    seen["tumour_grade"]["grade_3"] = 0
    categories = {**bundle.applicability.categories, "breast_cancer": seen}
    unlike = replace(bundle, applicability=replace(bundle.applicability, categories=categories))
    for asked, expected in ((bundle, True), (unlike, False)):
        prediction = asked.predict(asked.validate(BREAST))
        said = rationale(prediction.endpoints[0].outcomes[0], unseen_categories(prediction))
        assert (f"{GRADE} (grade 3)" in said) is expected


def test_explains_the_horizon_asked_for(fhir):
    found = assess(fhir, *relapsed(), params={"horizon": 12})
    (explained,) = [p for p in found["prediction"] if "rationale" in p]
    assert explained["whenPeriod"]["end"] == "2025-03-31"


def test_a_relapse_long_past_is_said_to_be(fhir):
    old = TODAY - timedelta(days=400)
    notes = [n["text"] for n in assess(fhir, *relapsed(old))["note"]]
    assert any("400 days ago" in note for note in notes)


def test_a_value_that_cannot_be_read_is_left_out_and_said(fhir):
    wrong = [r for r in relapsed() if r["id"] != f"o-{charts.NODES}"] + [charts.nodes(unit="furlong")]
    found = assess(fhir, *wrong)
    assert any("positive_lymph_nodes is in furlong: not read" in n["text"] for n in found["note"])
    (unknown,) = [n["text"] for n in found["note"] if n["text"].startswith("not known: ")]
    assert NODES in unknown


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ([charts.patient(), charts.condition()], "no relapse or progression"),
        ([charts.patient(), charts.worsened()], "no disease of the dictionary"),
        ([charts.patient(deceasedDateTime="2024-04-20"), *relapsed()[1:]], "has died"),
        ([*relapsed(), charts.patient(id="berta")], "two patients"),
        ([*relapsed(), charts.nodes() | {"subject": {"reference": "Patient/b"}}], "another patient"),
        ([charts.patient(), charts.condition(code="363346000"), charts.worsened()], "no disease"),
        ([charts.patient(), charts.condition(code="109969005"), charts.worsened()], "scope"),
    ],
)
def test_refuses_who_cannot_be_assessed_with_an_operation_outcome(fhir, resources, said):
    outcome = assess(fhir, *resources, expect=422)
    assert outcome["resourceType"] == "OperationOutcome"
    assert any(said in issue["diagnostics"] for issue in outcome["issue"])


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"content": b"{", "headers": {"content-type": FHIR}}, 422, "processing"),
        ({"content": b"[]", "headers": {"content-type": FHIR}}, 422, "processing"),
        ({"content": b'{"a":1,"a":2}', "headers": {"content-type": FHIR}}, 422, "processing"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "not-supported"),
        ({"json": {"resourceType": "Patient"}}, 422, "processing"),
        ({"json": bundle(*relapsed()), "params": {"model": "nobody"}}, 404, "not-found"),
        ({"json": bundle(*relapsed()), "params": {"horizon": "soon"}}, 422, "processing"),
        ({"json": bundle(*relapsed()), "params": {"horizon": 13}}, 422, "processing"),
        ({"content": b" " * 1_000_001, "headers": {"content-type": FHIR}}, 413, "too-long"),
    ],
)
def test_every_refusal_is_an_operation_outcome(fhir, sent, status, code):
    response = fhir.post(URL, **sent)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == FHIR
    assert response.json()["issue"][0]["code"] == code


def test_nothing_in_the_log_names_the_patient(assessment, served: Service):
    body = served.log.get(assessment["id"]).body
    assert b"anna" not in body
    assert RELAPSE.isoformat().encode() not in body


def test_the_log_reads_as_audit_events_page_by_page(assessment, fhir, served: Service):
    first = fhir.get("/v1/fhir/AuditEvent", params={"_count": 1}).json()
    (event,) = (entry["resource"] for entry in first["entry"])
    links = {link["relation"]: link["url"] for link in first["link"]}
    following = fhir.get(links["next"].removeprefix(PUBLIC)).json()
    assert following["entry"][0]["resource"]["id"] != event["id"]
    one = fhir.get("/v1/fhir/AuditEvent", params={"_id": assessment["id"]}).json()
    details = {d["type"]: d["valueString"] for d in one["entry"][0]["resource"]["entity"][-1]["detail"]}
    assert details["leaf_hash"] == served.log.get(assessment["id"]).leaf_hash
    none = fhir.get("/v1/fhir/AuditEvent", params={"subtype": "feedback"}).json()
    assert "entry" not in none
    assert fhir.get("/v1/fhir/AuditEvent", params={"_count": 0}).json()["resourceType"] == "OperationOutcome"
    assert fhir.get("/v1/fhir/AuditEvent", params={"after": 2**70}).status_code == 422


def test_r4_finds_nothing_wrong_with_what_is_answered_and_exported(assessment, fhir, served: Service):
    model = {"name": "m", "version": "2", "bundle": "b" * 64}
    served.recorder.event("model_promoted", {"model": model, "before": {"version": "1"}})
    served.recorder.event("feedback", {"client": "cds-client:x", "card": "c", "known": False})
    entries = list(served.log.entries())
    exported = fhir_bundle_of(entries)
    events = [part["resource"] for part in exported["entry"]]
    outcome = assess(fhir, charts.patient(), expect=422)
    searched = fhir.get("/v1/fhir/AuditEvent").json()
    sourced = provenance(entries[0], basis=[r["reference"] for r in assessment["basis"]])
    kinds = {resource["resourceType"] for resource in events}
    assert kinds == {"AuditEvent", "Provenance"}
    judged = [assessment, outcome, searched, exported, sourced, *events]
    assert medplum.faults(judged) == [[]] * len(judged)


def test_the_judge_itself_finds_what_is_wrong(assessment):
    wrong = json.loads(json.dumps(assessment))
    wrong["prediction"][0]["probabilityDecimal"] = 140.0
    unknown = assessment | {"urgency": "high"}
    assert all(medplum.faults([wrong, unknown]))
