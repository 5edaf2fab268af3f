"""Plans side by side over HTTP: answered, on record, read again; what is wrong is named."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.questions.comparison import MOST_PLANS
from tests.lib.patients import BREAST
from tests.serving.client import MODEL, TestClient, assert_problem, client_of, deploy, facts_of, named, rows
from tests.serving.planned import BOTH, CHEMOTHERAPY, PLANNED, RADIATION, planned_bundle

COMPARISONS = "/v1/comparisons"
PLANS = [CHEMOTHERAPY, RADIATION]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application over a model that knows plans."""
    with client_of(deploy(tmp_path_factory.mktemp("planned"), planned_bundle(), name=PLANNED)) as client:
        yield client


def compared(client: TestClient, plans: Any, **more: Any) -> Any:
    return client.post(COMPARISONS, json={"patient": BREAST, "plans": plans} | more)


def test_every_plan_has_the_answer_that_a_prediction_gives(planned):
    answered = compared(planned, PLANS).json()
    assert [plan["plan"] for plan in answered["comparison"]["plans"]] == PLANS
    for plan in answered["comparison"]["plans"]:
        assert plan["support"] > 0
        alone = planned.post("/v1/predictions", json={"patient": BREAST | plan["plan"]}).json()
        (endpoint,) = alone["prediction"]["endpoints"]
        told = endpoint["outcomes"][0]["probabilities"]
        assert [{name: at[name] for name in told[0]} for at in plan["outcomes"]] == told
        assert plan["typical"] == alone["prediction"]["typical"]
        assert plan["warnings"] == alone["prediction"]["warnings"]


def test_differences_are_from_the_first_plan_with_an_interval_around_them(planned):
    first, second = compared(planned, PLANS).json()["comparison"]["plans"]
    for one, other in zip(first["outcomes"], second["outcomes"], strict=True):
        assert one["difference"] is None
        assert other["difference"] == pytest.approx(other["probability"] - one["probability"])
        assert other["difference_low"] <= other["difference"] <= other["difference_high"]


def test_a_plan_that_nobody_had_is_not_answered_and_stops_no_other(planned):
    plans = compared(planned, [CHEMOTHERAPY, BOTH]).json()["comparison"]["plans"]
    assert [bool(plan["outcomes"]) for plan in plans] == [True, False]
    assert plans[1]["support"] == 0
    assert plans[1]["refused"]


def test_it_says_that_a_difference_is_no_effect(planned):
    assert "associations" in compared(planned, PLANS).json()["comparison"]["notice"]


def test_it_is_on_record_with_what_was_asked_and_read_again_as_it_was_given(tmp_path):
    home = deploy(tmp_path, planned_bundle(), name=PLANNED)
    with client_of(home) as client:
        given = compared(client, PLANS, subject="mrn-1937").json()
        kind, facts = facts_of(home)[-1]
        assert kind == "comparison"
        assert facts["model"]["name"] == PLANNED
        again = client.get(f"/v1/predictions/{given['audit']['id']}").json()
    assert again["comparison"] == given["comparison"]
    assert again["request"] == {"patient": BREAST, "plans": PLANS}
    assert b"mrn-1937" not in (home / "audit.db").read_bytes()
    assert not any(b"mrn-1937" in content for *_, content, _ in rows(home))
    assert len(rows(home)) == 1


@pytest.mark.parametrize(
    ("plans", "field"),
    [
        (None, "plans"),
        ({}, "plans"),
        ("chemotherapy", "plans"),
        ([CHEMOTHERAPY, "radiation"], "plans"),
        ([CHEMOTHERAPY, None], "plans"),
        ([], "plans"),
        ([CHEMOTHERAPY] * (MOST_PLANS + 1), "plans"),
        ([CHEMOTHERAPY, {"age": 3.0}], "plans[2].age"),
        ([CHEMOTHERAPY, {"plan_chemotherapy": "yes-1937"}], "plans[2].plan_chemotherapy"),
        ([{"shoe_size": 41}], "plans[1].shoe_size"),
    ],
)
def test_plans_that_cannot_be_compared_are_refused_by_name(planned, plans, field):
    refused = compared(planned, plans)
    assert field in named(assert_problem(refused, 422, "invalid-request"))
    assert "1937" not in refused.text


def test_all_that_is_wrong_around_the_plans_is_named_together(planned):
    refused = planned.post(COMPARISONS, json={"patient": BREAST, "model": 7, "subject": "", "plan": 1})
    assert set(named(assert_problem(refused, 422))) == {"model", "subject", "plan", "plans"}


def test_a_patient_that_cannot_be_accepted_is_refused_and_leaves_no_record(planned):
    before = planned.get("/v1/audit/head").json()["size"]
    refused = compared(planned, PLANS, patient=BREAST | {"age": 430})
    assert named(assert_problem(refused, 422)) == {"age": "out of range"}
    assert planned.get("/v1/audit/head").json()["size"] == before


def test_a_plan_in_the_patient_is_judged_though_the_plans_take_its_place(planned):
    refused = compared(planned, PLANS, patient=BREAST | {"plan_radiation": {}})
    assert named(assert_problem(refused, 422)) == {"plan_radiation": "wrong type"}
    assert compared(planned, PLANS, patient=BREAST | BOTH).status_code == 200


def test_a_model_without_plans_says_so(shared):
    assert named(assert_problem(compared(shared, PLANS), 422)) == {"model": "knows no plans"}
    assert_problem(compared(shared, PLANS, model="nope"), 404, "not-found")
    assert_problem(compared(shared, PLANS, model=MODEL, patient=None), 422)
