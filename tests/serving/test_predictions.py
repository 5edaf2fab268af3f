"""What a prediction says, and that it can be read again as it was said."""

import hashlib
import itertools
import json
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.dictionary import Field, load_dictionary
from models.bundle.manifest import bundle_hash
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    MODEL,
    PREDICTIONS,
    TestClient,
    answer,
    ask,
    assert_problem,
    client_of,
    facts_of,
    named,
    prediction_bytes,
    rows,
    served_folder,
    survival_of,
)

PATIENTS = {
    "breast": BREAST,
    "colorectal": COLORECTAL,
    "only the disease known": {"disease": "breast_cancer"},
    "everything else null": dict.fromkeys(BREAST) | {"disease": "breast_cancer"},
    "smallest values": {"disease": "breast_cancer", "age": 3.5, "months_diagnosis_to_relapse": 0.06},
    "largest values": {"disease": "colorectal_cancer", "age": 112, "positive_lymph_nodes": 26},
}
each_patient = pytest.mark.parametrize("patient", PATIENTS.values(), ids=PATIENTS)


@each_patient
def test_survival_lies_in_0_1_and_never_rises_over_the_horizons(shared, patient):
    survival = survival_of(answer(shared, patient))["probabilities"]
    assert [at["horizon"] for at in survival] == [12, 24, 36, 60]
    given = [at["probability"] for at in survival if at["probability"] is not None]
    assert given
    assert all(0 <= probability <= 1 for probability in given)
    assert all(later <= earlier for earlier, later in itertools.pairwise(given))


@each_patient
def test_a_horizon_without_an_answer_says_why_and_one_with_an_answer_does_not(shared, patient):
    for at in survival_of(answer(shared, patient))["probabilities"]:
        assert (at["probability"] is None) == (at["reason"] is not None)


@each_patient
def test_every_probability_lies_in_its_interval_and_an_absent_one_has_none(shared, patient):
    for at in survival_of(answer(shared, patient))["probabilities"]:
        if at["probability"] is None:
            assert at["low"] is at["high"] is None
        else:
            assert 0 <= at["low"] <= at["probability"] <= at["high"] <= 1
            assert at["low"] < at["high"]


@each_patient
def test_the_curve_starts_at_0_1_and_never_rises(shared, patient):
    curve = survival_of(answer(shared, patient))["curve"]
    assert (curve["months"][0], curve["probability"][0]) == (0, 1)
    assert len(curve["months"]) == len(curve["probability"]) > 10
    assert all(earlier < later for earlier, later in itertools.pairwise(curve["months"]))
    assert all(later <= earlier for earlier, later in itertools.pairwise(curve["probability"]))
    assert curve["probability"][-1] >= 0


@each_patient
def test_the_curve_passes_through_the_horizons(shared, patient):
    said = survival_of(answer(shared, patient))
    curve = dict(zip(said["curve"]["months"], said["curve"]["probability"], strict=True))
    for at in said["probabilities"]:
        if at["probability"] is not None:
            assert curve[at["horizon"]] == pytest.approx(at["probability"], abs=1e-9)


@each_patient
def test_the_curve_ends_where_the_models_follow_up_ends(shared, patient):
    supported = shared.get(f"/v1/models/{MODEL}").json()["supported_months"]["overall_survival"]
    said = survival_of(answer(shared, patient))
    assert said["curve"]["months"][-1] == supported[patient["disease"]]


@each_patient
def test_the_median_is_where_the_curve_crosses_one_half_or_says_why_there_is_none(shared, patient):
    said = survival_of(answer(shared, patient))
    median, curve = said["median"], said["curve"]
    if median["months"] is None:
        assert median["reason"]
        assert curve["probability"][-1] > 0.5
        return
    assert median["reason"] is None
    points = list(zip(curve["months"], curve["probability"], strict=True))
    before = [s for m, s in points if m < median["months"]]
    after = [s for m, s in points if m > median["months"]]
    assert before[-1] >= 0.5
    assert all(s <= 0.5 for s in after)


@each_patient
@pytest.mark.parametrize("horizon", [12, 24, 36, 60])
def test_on_each_scale_reference_plus_contributions_is_the_prediction(shared, patient, horizon):
    response = ask(shared, patient, horizon=horizon)
    if response.status_code == 422:
        assert named(response.json()) == {"horizon": "cannot be explained in this disease"}
        return
    explanation = survival_of(response.json())["explanation"]
    assert explanation["horizon"] == horizon
    assert [scale["scale"] for scale in explanation["scales"]] == ["probability", "log_cumulative_hazard"]
    for scale in explanation["scales"]:
        for parts in (scale["contributions"], scale["groups"]):
            total = scale["reference"] + sum(part["contribution"] for part in parts)
            assert total == pytest.approx(scale["prediction"], abs=1e-6)
        assert scale["coherence"] == 0.0


def predictors_of(client: TestClient) -> list[Field]:
    """Return the model's predictors as it lists them."""
    predictors = client.get(f"/v1/models/{MODEL}").json()["predictors"]["properties"]
    return [load_dictionary()[name] for name in predictors]


@each_patient
def test_a_groups_contribution_is_that_of_its_known_values_and_one_group_has_the_unknown(shared, patient):
    groups = {field.group for field in predictors_of(shared)}
    for scale in survival_of(answer(shared, patient))["explanation"]["scales"]:
        expected = dict.fromkeys((*groups, "not_known"), 0.0)
        for part in scale["contributions"]:
            expected["not_known" if part["value"] is None else part["group"]] += part["contribution"]
        grouped = {group["group"]: group["contribution"] for group in scale["groups"]}
        assert grouped == pytest.approx(expected, abs=1e-12)
        assert len(scale["groups"]) == len(grouped) > 2
        assert scale["groups"][-1]["group"] == "not_known"


@pytest.mark.parametrize("disease", ["breast_cancer", "colorectal_cancer"])
def test_contributions_start_from_the_diseases_own_mean_beside_that_of_all(shared, bundle, cohort, disease):
    scale = survival_of(answer(shared, {"disease": disease}, horizon=24))["explanation"]["scales"][0]
    own = np.array(cohort.text("disease")) == disease
    predicted = bundle.probabilities(cohort, "overall_survival", np.array([24.0]))[:, 0, 0]
    assert scale["reference"] == pytest.approx(predicted[own].mean(), abs=0.01)
    assert scale["whole"] == pytest.approx(predicted.mean(), abs=0.01)
    assert scale["reference_name"] == "mean prediction of the training patients with this disease"
    assert scale["whole_name"] == "mean prediction of all training patients"


@pytest.mark.parametrize("known", [BREAST, COLORECTAL], ids=["breast", "colorectal"])
def test_with_nothing_known_the_answer_is_near_the_diseases_mean_and_less_sure(shared, known):
    said, nothing = (
        survival_of(answer(shared, patient, horizon=24)) for patient in (known, {"disease": known["disease"]})
    )
    scale = nothing["explanation"]["scales"][0]
    assert scale["prediction"] == pytest.approx(scale["reference"], abs=0.05)
    narrow, wide = (
        one["probabilities"][1]["high"] - one["probabilities"][1]["low"] for one in (said, nothing)
    )
    assert wide > narrow


@each_patient
def test_the_explained_survival_is_the_survival_at_that_horizon(shared, patient):
    said = survival_of(answer(shared, patient, horizon=36))
    (at_36,) = (at["probability"] for at in said["probabilities"] if at["horizon"] == 36)
    explained = said["explanation"]["scales"][0]
    assert explained["scale"] == "probability"
    assert explained["unit"] == "probability of being alive at 36 months"
    assert explained["prediction"] == pytest.approx(at_36, abs=1e-9)


@each_patient
def test_every_predictor_contributes_with_the_value_that_was_given(shared, patient):
    for scale in survival_of(answer(shared, patient))["explanation"]["scales"]:
        said = {part["predictor"]: part["value"] for part in scale["contributions"]}
        assert list(said) == [f.name for f in predictors_of(shared) if f.applies(patient["disease"])]
        assert said == dict.fromkeys(said) | patient


def test_all_that_is_not_known_is_warned_of_at_once_and_a_complete_patient_is_not(shared):
    complete = answer(shared)["prediction"]
    assert complete["warnings"] == complete["next_tests"] == []
    incomplete = {name: value for name, value in BREAST.items() if name not in ("age", "tumour_grade")}
    given = answer(shared, incomplete)["prediction"]
    (warning,) = given["warnings"]
    assert (warning["kind"], warning["predictor"]) == ("not_known", None)
    assert {test["predictor"] for test in given["next_tests"]} == {"age", "tumour_grade"}
    labels = "; ".join(test["label"] for test in given["next_tests"])
    assert warning["message"] == f"not known, what matters most first: {labels}"


def test_every_unknown_predictor_is_ranked_and_says_who_can_tell(shared):
    tests = answer(shared, {"disease": "breast_cancer"})["prediction"]["next_tests"]
    meant = {field.name for field in predictors_of(shared) if field.applies("breast_cancer")}
    assert {test["predictor"] for test in tests} == meant - {"disease"}
    changes = [test["expected_change"] for test in tests]
    assert changes == sorted(changes, reverse=True)
    assert {test["source"] for test in tests} == {"history"}


def test_an_answer_lies_among_those_for_what_is_not_known_and_is_less_sure(shared):
    left_out = {name: value for name, value in BREAST.items() if name != "positive_lymph_nodes"}
    known = [
        survival_of(answer(shared, BREAST | {"positive_lymph_nodes": nodes}))["probabilities"][1]
        for nodes in range(9)
    ]
    unknown = survival_of(answer(shared, left_out))["probabilities"][1]
    probabilities = [at["probability"] for at in known]
    assert min(probabilities) < unknown["probability"] < max(probabilities)
    assert unknown["high"] - unknown["low"] > sum(at["high"] - at["low"] for at in known) / len(known)


@each_patient
def test_an_answer_says_how_usual_the_patient_is(shared, patient):
    typical = answer(shared, patient)["prediction"]["typical"]
    assert 0 <= typical["share"] <= 1
    assert "training patient" in typical["words"]


def test_an_unusual_combination_is_less_typical_and_is_doubted_in_words(shared):
    strange = BREAST | {"age": 84, "positive_lymph_nodes": 30, "months_diagnosis_to_relapse": 1}
    usual, unusual = (answer(shared, p)["prediction"]["typical"] for p in (BREAST, strange))
    assert unusual["share"] < 0.05 < usual["share"]
    assert "doubt" in unusual["words"] or "care" in unusual["words"]
    assert "doubt" not in usual["words"]


def test_a_value_unlike_the_training_patients_is_warned_of(shared):
    warnings = answer(shared, BREAST | {"age": 110})["prediction"]["warnings"]
    assert [(w["kind"], w["predictor"]) for w in warnings] == [("out_of_range", "age")]


def test_a_value_a_little_beyond_training_is_answered_as_at_its_border_and_less_surely(shared, bundle):
    _, oldest = bundle.applicability.ranges["breast_cancer"]["age"]
    border, beyond = (
        survival_of(answer(shared, BREAST | {"age": age}))["probabilities"][1] for age in (oldest, 110)
    )
    assert beyond["probability"] == pytest.approx(border["probability"], abs=1e-9)
    assert beyond["low"] < border["low"]
    assert beyond["high"] > border["high"]


@pytest.mark.parametrize("age", [114.9, 119])
def test_a_value_far_beyond_training_is_refused_with_the_range(shared, age):
    document = assert_problem(ask(shared, BREAST | {"age": age}), 422)
    assert named(document)["age"].startswith("is too far from what training saw in this disease: ")
    assert (
        document["problems"][0]["remedy"] == "check the value and its unit; left out, it counts as not known"
    )


def test_more_positive_nodes_shorten_the_predicted_survival(shared):
    few, many = (
        survival_of(answer(shared, BREAST | {"positive_lymph_nodes": nodes}))["probabilities"][1][
            "probability"
        ]
        for nodes in (0, 12)
    )
    assert many < few - 0.05


def test_a_null_predictor_is_answered_as_one_left_out(shared):
    left_out = {name: value for name, value in BREAST.items() if name != "tumour_size"}
    null = answer(shared, BREAST | {"tumour_size": None})
    assert null["prediction"] == answer(shared, left_out)["prediction"]


def test_an_answer_says_which_model_gave_it_down_to_its_files(client, home):
    stamp = answer(client)["model"]
    assert stamp["name"] == MODEL
    assert stamp["version"] == "1"
    assert stamp["bundle"] == bundle_hash(served_folder(home))
    assert stamp["protocol"] == "relapse-survival"


def test_an_answer_from_simulated_patients_says_synthetic(shared):
    assert answer(shared)["model"]["evidence"] == "synthetic"


def test_an_answer_says_it_is_an_association(shared):
    assert "association, not the effect" in answer(shared)["prediction"]["notice"]


def test_an_answer_names_its_record(client, home):
    before = datetime.now(UTC)
    audit = answer(client)["audit"]
    ((seq, entry_id, at, kind, body, leaf),) = rows(home)
    assert (audit["id"], audit["seq"], audit["recorded_at"], audit["leaf_hash"]) == (entry_id, seq, at, leaf)
    assert (seq, kind) == (2, "prediction")
    assert str(uuid.UUID(audit["id"])) == audit["id"]
    with closing(sqlite3.connect(home / "audit.db")) as reader:
        (logged,) = reader.execute("SELECT body FROM entries WHERE id = ?", (entry_id,)).fetchone()
        (salt,) = reader.execute("SELECT salt FROM contents WHERE seq = ?", (seq,)).fetchone()
    assert leaf == hashlib.sha256(b"\x00" + logged).hexdigest()
    assert json.loads(logged)["commitment"] == hashlib.sha256(b"\x02" + salt + body).hexdigest()
    assert b"breast" not in logged, "no patient's value stands in the log"
    recorded = datetime.fromisoformat(audit["recorded_at"])
    assert recorded.utcoffset() == timedelta(0)
    assert before <= recorded <= datetime.now(UTC)


def test_without_a_horizon_the_protocols_own_is_explained(shared):
    assert survival_of(answer(shared))["explanation"]["horizon"] == 24
    assert answer(shared)["prediction"] == answer(shared, horizon=24)["prediction"]


def test_the_horizon_changes_what_is_explained_and_nothing_else(shared):
    early, late = (answer(shared, horizon=horizon) for horizon in (12, 60))
    for explained in ("explanation", "restricted_mean"):
        assert survival_of(early).pop(explained) != survival_of(late).pop(explained)
    assert early["prediction"] == late["prediction"]


@pytest.mark.parametrize("horizon", [25, 0, -12, 24.5, 1e308])
def test_a_horizon_outside_the_protocol_is_refused_with_those_that_can_be_explained(shared, horizon):
    document = assert_problem(ask(shared, horizon=horizon), 422, "invalid-request")
    assert named(document) == {"horizon": "cannot be explained in this disease"}
    assert document["problems"][0]["remedy"] == "expected one of 12, 24, 36, 60 months"


@pytest.mark.parametrize("horizon", [True, "24", [24], {"months": 24}])
def test_a_horizon_of_the_wrong_type_is_refused(shared, horizon):
    document = assert_problem(ask(shared, horizon=horizon), 422, "invalid-request")
    assert named(document) == {"horizon": "wrong type"}


def test_the_only_model_may_be_named_or_not(shared):
    assert answer(shared, model=MODEL)["prediction"] == answer(shared)["prediction"]
    assert answer(shared, model=None)["prediction"] == answer(shared)["prediction"]


@each_patient
def test_a_prediction_is_read_again_byte_for_byte(shared, patient):
    first = ask(shared, patient)
    again = shared.get(f"{PREDICTIONS}/{first.json()['audit']['id']}")
    assert again.status_code == 200
    assert again.headers["content-type"] == "application/json"
    assert prediction_bytes(again.content) == prediction_bytes(first.content)
    assert again.json()["model"] == first.json()["model"]
    assert again.json()["audit"] == first.json()["audit"]


@pytest.mark.parametrize("horizon", [None, 36])
def test_a_prediction_is_read_again_with_its_request(shared, horizon):
    given = answer(shared, COLORECTAL, horizon=horizon)
    again = shared.get(f"{PREDICTIONS}/{given['audit']['id']}").json()
    assert list(again) == ["model", "request", "prediction", "audit", "mode"]
    assert again["request"] == {"patient": COLORECTAL, "horizon": horizon}


def test_the_record_is_what_is_read_again(client, home):
    given = answer(client)
    again = client.get(f"{PREDICTIONS}/{given['audit']['id']}").content
    ((*_, body, _),) = rows(home)
    assert again.startswith(body[:-1])
    rest = json.loads(again[len(body) - 1 :].replace(b",", b"{", 1))
    assert rest == {"audit": given["audit"], "mode": given["mode"]}


def test_reading_a_prediction_is_recorded_without_its_content(client, home):
    given = answer(client)
    for _ in range(3):
        client.get(f"{PREDICTIONS}/{given['audit']['id']}")
    assert len(rows(home)) == 1
    read = [facts for kind, facts in facts_of(home) if kind == "read"]
    assert [facts["entry"] for facts in read] == [given["audit"]["id"]] * 3
    assert {facts["client"] for facts in read} == {"demo:demo"}


def test_a_prediction_outlives_the_server(client, home):
    given = ask(client)
    with client_of(home) as restarted:
        again = restarted.get(f"{PREDICTIONS}/{given.json()['audit']['id']}")
    assert prediction_bytes(again.content) == prediction_bytes(given.content)


def test_identical_patients_get_identical_bytes_and_their_own_records(shared):
    first, second = ask(shared), ask(shared)
    assert prediction_bytes(first.content) == prediction_bytes(second.content)
    assert first.json()["audit"]["id"] != second.json()["audit"]["id"]
    assert second.json()["audit"]["seq"] == first.json()["audit"]["seq"] + 1


def test_an_unknown_prediction_is_404(shared):
    answer(shared)
    assert_problem(shared.get(f"{PREDICTIONS}/{uuid.UUID(int=7)}"), 404, "not-found")


@pytest.mark.parametrize("key", ["", "x" * 201, "a", "ä"])
def test_reading_again_minds_no_idempotency_key(shared, key):
    given = answer(shared)
    headers = {"Idempotency-Key": key.encode("latin-1")}
    assert shared.get(f"{PREDICTIONS}/{given['audit']['id']}", headers=headers).status_code == 200
