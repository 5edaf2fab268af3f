"""Explanations at chosen horizons over HTTP: the same as in a prediction, on record, what is wrong named."""

from typing import Any

import pytest

from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    MODEL,
    TestClient,
    answer,
    assert_problem,
    facts_of,
    named,
    rows,
    survival_of,
)

EXPLANATIONS = "/v1/explanations"
HORIZONS = [12, 24, 36, 60]


def explained(client: TestClient, patient: Any = None, **more: Any) -> Any:
    return client.post(EXPLANATIONS, json={"patient": BREAST if patient is None else patient} | more)


@pytest.mark.parametrize("patient", [BREAST, COLORECTAL, {"disease": "breast_cancer"}])
def test_each_explanation_is_the_one_that_a_prediction_gives_at_that_horizon(shared, patient):
    answered = explained(shared, patient, horizons=[12, 36]).json()
    (timeline,) = answered["explanations"]["timelines"]
    assert (timeline["endpoint"], timeline["outcome"]) == ("overall_survival", "overall_survival")
    assert [one["horizon"] for one in timeline["explanations"]] == [12, 36]
    for one in timeline["explanations"]:
        alone = answer(shared, patient, horizon=one["horizon"])
        assert survival_of(alone)["explanation"] == one
        assert alone["model"] == answered["model"]


def test_it_says_how_typical_the_patient_is_and_why_to_trust_it_less_as_a_prediction_does(shared):
    odd = {"disease": "breast_cancer", "age": 17.0}
    given, alone = explained(shared, odd).json()["explanations"], answer(shared, odd)["prediction"]
    assert given["warnings"]
    for part in ("typical", "warnings", "notice"):
        assert given[part] == alone[part]


@pytest.mark.parametrize("asked", [{}, {"horizons": None}, {"horizons": []}])
def test_without_horizons_all_of_the_protocols_are_explained(shared, asked):
    (timeline,) = explained(shared, **asked).json()["explanations"]["timelines"]
    assert [one["horizon"] for one in timeline["explanations"]] == HORIZONS


def test_a_horizon_asked_twice_is_explained_once(shared):
    (timeline,) = explained(shared, horizons=[24, 24.0]).json()["explanations"]["timelines"]
    assert [one["horizon"] for one in timeline["explanations"]] == [24]


def test_contributions_sum_to_what_they_explain(shared):
    (timeline,) = explained(shared).json()["explanations"]["timelines"]
    for one in timeline["explanations"]:
        for scale in one["scales"]:
            total = scale["reference"] + sum(part["contribution"] for part in scale["contributions"])
            assert total == pytest.approx(scale["prediction"], abs=1e-9)


def test_it_is_on_record_as_an_explanation_and_read_again_as_it_was_given(client, home):
    given = explained(client, horizons=[24], subject="mrn-1937").json()
    kind, facts = facts_of(home)[-1]
    assert (kind, facts["model"]["name"]) == ("explanations", MODEL)
    again = client.get(f"/v1/predictions/{given['audit']['id']}").json()
    assert again["explanations"] == given["explanations"]
    assert again["request"] == {"patient": BREAST, "horizons": [24]}
    assert facts_of(home)[-1][0] == "read"
    assert b"mrn-1937" not in (home / "audit.db").read_bytes()
    assert not any(b"mrn-1937" in content for *_, content, _ in rows(home))


@pytest.mark.parametrize(
    ("horizons", "field"),
    [
        (24, "horizons"),
        ("24", "horizons"),
        (["24"], "horizons"),
        ([True], "horizons"),
        ([None], "horizons"),
        ([10**400], "horizons"),
        ({}, "horizons"),
        ([25], "horizons"),
        ([24, -1], "horizons"),
    ],
)
def test_horizons_that_cannot_be_explained_are_refused(shared, horizons, field):
    assert set(named(assert_problem(explained(shared, horizons=horizons), 422))) == {field}


def test_all_that_is_wrong_around_the_patient_is_named_together_and_leaves_no_record(client, home):
    refused = client.post(EXPLANATIONS, json={"patient": BREAST, "model": 7, "horizon": 24, "horizons": 24})
    assert set(named(assert_problem(refused, 422))) == {"model", "horizon", "horizons"}
    assert named(assert_problem(explained(client, BREAST | {"age": 430}), 422)) == {"age": "out of range"}
    assert_problem(explained(client, model="nope"), 404, "not-found")
    assert rows(home) == []
