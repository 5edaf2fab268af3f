"""Discovery, cards and what stands on them; what is missing, what is refused, and what never leaks."""

import json
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest

from features.dictionary import load_dictionary
from features.sources.fhir import extract_bundle
from serving.cds.call import FhirAccess
from serving.fhir.chart import patient_of
from tests.node import medplum
from tests.serving.cds.calls import (
    AUTHORIZED,
    INSTANCE,
    SELECT,
    SERVER,
    SIGN,
    TOKEN,
    VIEW,
    call,
    prefetch,
    searchset,
)
from tests.serving.fhir import charts
from tests.serving.fhir.charts import (
    RELAPSE,
    bundle,
    condition,
    observation,
    order,
    patient,
    relapsed,
    worsened,
)
from tests.serving.fhir.service import PUBLIC, TODAY


def ask(cds, service=VIEW, *, expect=200, **more):
    response = cds.post(f"/cds-services/{service}", json=call(service, **more))
    assert response.status_code == expect, response.text
    return response.json()


def the_card(cds, service=VIEW, **more):
    (card,) = ask(cds, service, **more)["cards"]
    return card


def test_discovery_lists_one_id_per_hook_with_what_each_wants(cds):
    services = cds.get("/cds-services").json()["services"]
    assert len({s["id"] for s in services}) == len({s["hook"] for s in services}) == len(services) == 3
    for service in services:
        assert service["description"]
        assert all("{{" in template for template in service["prefetch"].values())
        plain = {key for key, template in service["prefetch"].items() if "today()" not in template}
        assert {"patient", "conditions", "diseaseStatus", "labs"} <= plain


def test_a_card_keeps_the_specification(cds):
    card = the_card(cds)
    assert len(card["summary"]) <= 139
    assert card["indicator"] == "info"
    assert card["source"]["label"]
    assert {"code", "system"} <= set(card["source"]["topic"])
    assert card["selectionBehavior"] in ("at-most-one", "any")
    assert all(reason["display"] for reason in card["overrideReasons"])
    (link,) = card["links"]
    assert link == {
        "label": "Explanation and record",
        "type": "absolute",
        "url": f"{PUBLIC}/v1/predictions/{card['uuid']}",
    }
    (suggestion,) = card["suggestions"]
    assert uuid.UUID(suggestion["uuid"]) != uuid.UUID(card["uuid"])
    (action,) = suggestion["actions"]
    assert action["type"] == "create"
    assert action["description"]
    assert _nothing_empty(card)


def _nothing_empty(value) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_nothing_empty(one) for one in value.values())
    if isinstance(value, list):
        return bool(value) and all(_nothing_empty(one) for one in value)
    return value is not None and value != ""


def test_the_summary_says_outcome_horizon_number_interval_and_that_it_is_simulated(cds):
    summary = the_card(cds)["summary"]
    assert summary.startswith("SIMULATED, not for care: Being alive at 24 months: ")
    assert summary.count("%") == 2


def test_the_detail_shows_every_answer_why_and_what_is_missing(cds, served):
    card = the_card(cds, prefetch={k: v for k, v in prefetch().items() if k != "procedures"})
    detail = card["detail"]
    for months in (12, 24, 36, 60):
        assert f"| being alive at {months} months |" in detail
    assert "Counted from first relapse, taken as 2024-03-31." in detail
    assert detail.count(" points") >= 1
    assert "Histological grade" in detail.split("**Not known of this patient**")[1]
    asked = detail.split("**Known already to you?**: ")[1].splitlines()[0]
    assert "knowing it would" in asked
    assert "**To be done**" not in detail, "no predictor of this model is a test"
    assert "**Not sent by the record system**: procedures." in detail
    assert "simulated" in detail
    assert "association, not the effect" in detail


def test_no_reason_is_given_for_what_is_not_known_but_what_it_adds_together(cds, served):
    card = the_card(cds)
    why = card["detail"].split("**Why**")[1].split("\n\n**")[0]
    content = json.loads(served.log.get(card["uuid"]).content)
    scale = content["prediction"]["endpoints"][0]["outcomes"][0]["explanation"]["scales"][0]
    unknown = [c["label"] for c in scale["contributions"] if c["value"] is None]
    assert load_dictionary()["tumour_grade"].label in unknown
    assert not any(label in why for label in unknown)
    (together,) = [g["contribution"] for g in scale["groups"] if g["group"] == "not_known"]
    assert f"- What is not known adds {100 * together:+.1f} points and widens the interval." in why
    assert load_dictionary()["positive_lymph_nodes"].label in why


def test_the_suggestion_creates_a_risk_assessment_that_r4_accepts(cds):
    resource = the_card(cds)["suggestions"][0]["actions"][0]["resource"]
    assert resource["encounter"] == {"reference": "Encounter/e1"}
    assert "id" not in resource
    assert medplum.faults([resource]) == [[]]


def test_the_record_says_which_hook_asked_and_names_no_patient(cds, served):
    entry = served.log.get(the_card(cds)["uuid"])
    assert entry.kind == "prediction"
    said = {name: entry.facts[name] for name in ("protocol", "service", "hook_instance", "user")}
    assert said == {
        "protocol": "cds-hooks",
        "service": VIEW,
        "hook_instance": INSTANCE,
        "user": "Practitioner/dr",
    }
    assert b"anna" not in entry.body


def test_a_patient_who_looks_at_her_own_chart_is_not_put_on_record_as_the_user(cds, served):
    context = {"userId": "Patient/anna", "patientId": "anna"}
    entry = served.log.get(the_card(cds, context=context)["uuid"])
    assert "user" not in entry.facts
    assert b"anna" not in entry.body


@pytest.mark.parametrize(
    "told",
    [
        {"conditions": None, "diseaseStatus": None},
        {"conditions": searchset(condition(code="44054006"))},
        {"diseaseStatus": None},
        {"diseaseStatus": searchset(worsened(TODAY - timedelta(days=91)))},
        {"diseaseStatus": searchset(worsened(TODAY + timedelta(days=1)))},
        {"conditions": searchset(condition(code="109969005"))},
        {"patient": patient(deceasedDateTime="2024-04-20")},
    ],
    ids=["nothing", "diabetes", "no relapse", "long ago", "tomorrow", "another disease", "died"],
)
def test_nothing_is_said_where_no_model_applies(cds, served, told):
    before = served.log.head()
    assert ask(cds, prefetch=prefetch(**told)) == {"cards": []}
    assert served.log.head() == before


@pytest.mark.parametrize("key", ["patient", "conditions", "diseaseStatus"])
@pytest.mark.parametrize("how", ["absent", "failed"])
def test_412_names_what_cannot_be_done_without(cds, key, how):
    told = prefetch()
    told[key] = {"resourceType": "OperationOutcome", "issue": []}
    if how == "absent":
        del told[key]
    outcome = ask(cds, prefetch=told, expect=412)
    (issue,) = outcome["issue"]
    assert issue["diagnostics"] == f"prefetch key {key}"
    assert medplum.why_not() or medplum.faults([outcome]) == [[]]


def test_412_without_any_prefetch_names_all_that_is_needed(cds):
    outcome = ask(cds, prefetch=..., expect=412)
    assert [issue["expression"] for issue in outcome["issue"]] == [
        ["prefetch.patient"],
        ["prefetch.conditions"],
        ["prefetch.diseaseStatus"],
    ]


def test_what_is_not_sent_is_fetched_with_the_clients_token_page_by_page(cds, ehr):
    second = f"{SERVER}/Condition?page=2"
    ehr.asked.clear()
    ehr.holds = {
        "Patient": patient(),
        "Condition": searchset(link=[{"relation": "next", "url": second}]),
        second: searchset(condition()),
        "Observation?http://loinc.org|97509-4": searchset(worsened()),
    }
    card = the_card(cds, prefetch=..., **AUTHORIZED)
    asked = [url for url, _ in ehr.asked]
    assert f"{SERVER}/Patient/anna" in asked
    assert second in asked
    assert f"{SERVER}/Observation?patient=anna&category=laboratory&date=ge2023-11-03" in asked
    assert all(headers["Authorization"] == f"Bearer {TOKEN}" for _, headers in ehr.asked)
    assert "**Not sent by the record system**: performance, labsRecent," in card["detail"]


def test_a_page_on_another_server_never_gets_the_token(cds, ehr):
    elsewhere = "https://evil.example.org/fhir/Condition?page=2"
    ehr.asked.clear()
    told = prefetch(conditions=searchset(condition(), link=[{"relation": "next", "url": elsewhere}]))
    card = the_card(cds, prefetch=told, **AUTHORIZED)
    assert elsewhere not in [url for url, _ in ehr.asked]
    assert "**Not read**: further pages" in card["detail"]


def test_what_cannot_be_fetched_either_is_a_412(cds, ehr):
    ehr.holds = {"Patient": patient()}
    outcome = ask(cds, prefetch=..., expect=412, **AUTHORIZED)
    assert [issue["diagnostics"] for issue in outcome["issue"]] == [
        "prefetch key conditions",
        "prefetch key diseaseStatus",
    ]


def test_the_access_token_is_never_shown_or_kept(cds, served):
    card = the_card(cds, **AUTHORIZED)
    entry = served.log.get(card["uuid"])
    assert TOKEN.encode() not in entry.body + entry.content + json.dumps(card).encode()
    assert TOKEN not in repr(FhirAccess(SERVER, TOKEN))


@pytest.mark.parametrize("service", [SELECT, SIGN])
def test_orders_that_the_model_does_not_use_and_orders_not_known_are_said(cds, service):
    unknown = order("0", "something new", "other")
    detail = the_card(cds, service, orders=[order(), unknown])["detail"]
    assert "the model does not take the planned treatment into account" in detail
    assert "Draft orders whose codes are not known here: 1." in detail


def test_orders_are_read_into_the_plan_of_a_model_that_takes_it():
    dictionary = load_dictionary().slice(("disease", "plan_chemotherapy", "plan_endocrine_therapy"))
    found = extract_bundle(bundle(*relapsed(), order()))
    assert patient_of(found, SimpleNamespace(dictionary=dictionary)) == {
        "disease": "breast_cancer",
        "plan_chemotherapy": True,
    }
    assert found.basis["plan_chemotherapy"] == ("MedicationRequest/order",)
    assert found.unread_orders == ()


def test_a_regimen_is_read_through_its_members():
    regimen = {
        "resourceType": "RequestGroup",
        "id": "regimen",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": charts.ANNA},
        "action": [{"resource": {"reference": "MedicationRequest/order"}}],
    }
    assert extract_bundle(bundle(*relapsed(), regimen, order())).unread_orders == ()
    assert extract_bundle(bundle(*relapsed(), regimen)).unread_orders == ("RequestGroup/regimen",)


def test_markup_in_the_chart_is_shown_as_text(cds):
    evil = "<img src=x>`[a](http://evil)"
    told = searchset(observation(charts.NODES, RELAPSE, valueQuantity={"value": 4, "code": evil}))
    detail = the_card(cds, prefetch=prefetch(labs=told))["detail"]
    (line,) = [line for line in detail.splitlines() if "img" in line]
    assert line.startswith("- `")
    assert line.endswith("`")
    assert line.count("`") == 2


def _without(name):
    return {"context": {k: v for k, v in call(SELECT)["context"].items() if k != name}}


@pytest.mark.parametrize(
    ("service", "broken", "named"),
    [
        (VIEW, {"hook": "order-sign"}, "hook"),
        (VIEW, {"hookInstance": "1"}, "hookInstance"),
        (VIEW, {"hookInstance": ...}, "hookInstance"),
        (VIEW, {"context": ...}, "context"),
        (VIEW, {"context": []}, "context"),
        (VIEW, {"context": {"userId": "Practitioner/dr"}}, "context.patientId"),
        (VIEW, {"context": {"userId": "x", "patientId": "anna"}}, "context.userId"),
        (VIEW, {"context": {"userId": "Practitioner/d", "patientId": "a&b=c"}}, "context.patientId"),
        (VIEW, {"context": {"userId": "Practitioner/d", "patientId": "../x"}}, "context.patientId"),
        (VIEW, {"prefetch": []}, "prefetch"),
        (VIEW, {"fhirServer": "file:///etc/passwd"}, "fhirServer"),
        (VIEW, {"fhirAuthorization": AUTHORIZED["fhirAuthorization"]}, "fhirServer"),
        (VIEW, {"fhirServer": SERVER, "fhirAuthorization": {}}, "fhirAuthorization"),
        (VIEW, {"fhirServer": SERVER, "fhirAuthorization": {"access_token": "a\r\nb"}}, "fhirAuthorization"),
        (SELECT, _without("selections"), "context.selections"),
        (SELECT, _without("draftOrders"), "context.draftOrders"),
        (SIGN, {"context": call(VIEW)["context"]}, "context.draftOrders"),
        (SIGN, {"context": call(SIGN)["context"] | {"userId": "Patient/anna"}}, "context.userId"),
        (VIEW, {"prefetch": prefetch(patient=patient(id="berta"))}, "another patient"),
    ],
)
def test_a_call_that_breaks_the_specification_is_refused_by_member(cds, service, broken, named):
    response = cds.post(f"/cds-services/{service}", json=call(service, **broken))
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/fhir+json"
    assert any(named in issue["diagnostics"] for issue in response.json()["issue"])


def test_there_is_no_other_service(cds):
    response = cds.post("/cds-services/other", json=call())
    assert response.status_code == 404
    assert response.json()["resourceType"] == "OperationOutcome"


def test_a_fhir_media_type_is_accepted_and_others_are_not(cds):
    content = json.dumps(call()).encode()
    url = f"/cds-services/{VIEW}"
    taken = cds.post(url, content=content, headers={"content-type": "application/fhir+json; charset=utf-8"})
    refused = cds.post(url, content=content, headers={"content-type": "text/plain"})
    assert taken.status_code == 200
    assert refused.status_code == 415
    assert refused.json()["resourceType"] == "OperationOutcome"
