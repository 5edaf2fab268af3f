"""Applicability: every way in which a patient is unlike those trained on is said, and nothing else."""

import json

import numpy as np
import pytest

from features.cohort import Cohort, read_patient
from features.dictionary import load_dictionary
from models.patient.applicability import Applicability
from tests.lib.patients import BREAST, protocol, simulated_cohort

COLON = {
    "disease": "colorectal_cancer",
    "age": 60.0,
    "sex": "male",
    "months_diagnosis_to_relapse": 20.0,
    "positive_lymph_nodes": 3,
    "tumour_grade": "grade_2",
    "local_extent": "serosa",
    "bowel_obstruction": False,
    "bowel_perforation": True,
    "organ_adherence": False,
    "prior_chemotherapy": True,
    "prior_levamisole": False,
}


@pytest.fixture(scope="module")
def applicability(cohort):
    return fit(cohort)


def fit(cohort):
    study = protocol()
    return Applicability.fit(cohort, predictors=study.predictors, diseases=study.diseases)


def found_in(applicability, patient):
    known = load_dictionary().slice(protocol().predictors)
    return applicability.cautions(read_patient(patient, dictionary=known), patient["disease"], known)


def cautions(applicability, patient):
    return {(caution.kind, caution.predictor) for caution in found_in(applicability, patient)}


@pytest.mark.parametrize("patient", [BREAST, COLON])
def test_a_patient_like_the_training_cohort_gets_no_warning(applicability, patient):
    assert cautions(applicability, patient) == set()


@pytest.mark.parametrize("name", [name for name in BREAST if name != "disease"])
def test_each_missing_predictor_of_the_disease_is_named(applicability, name):
    rest = {key: value for key, value in BREAST.items() if key != name}
    assert cautions(applicability, rest) == {("missing", name)}


def test_a_predictor_without_meaning_in_the_disease_is_not_missing(applicability):
    named = {name for _, name in cautions(applicability, {"disease": "colorectal_cancer"})}
    assert named == set(COLON) - {"disease"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("age", 5.0), ("age", 119.0), ("positive_lymph_nodes", 99), ("months_diagnosis_to_relapse", 600.0)],
)
def test_a_number_outside_what_training_saw_is_named(applicability, name, value):
    assert cautions(applicability, BREAST | {name: value}) == {("out_of_range", name)}


def test_the_edges_of_what_training_saw_are_inside(applicability):
    for edge in applicability.ranges["breast_cancer"]["age"]:
        assert cautions(applicability, BREAST | {"age": edge}) == set()


def test_ranges_are_each_diseases_own(cohort, applicability):
    for disease in protocol().diseases:
        own = cohort.values["age"][[d == disease for d in cohort.text("disease")]]
        assert applicability.ranges[disease]["age"] == (own.min(), own.max())


def test_a_category_seen_in_the_other_disease_only_is_unseen(applicability):
    # every made man has colorectal cancer
    assert applicability.categories["colorectal_cancer"]["sex"]["male"] > 0
    assert cautions(applicability, COLON) == set()
    assert cautions(applicability, BREAST | {"sex": "male"}) == {("unseen_category", "sex")}


def test_a_category_that_nobody_had_is_unseen(applicability):
    assert cautions(applicability, COLON | {"local_extent": "submucosa"}) == {
        ("unseen_category", "local_extent")
    }


def test_a_flag_that_only_ever_had_the_other_value_is_unseen():
    cohort = simulated_cohort(200, seed=9)
    treated = cohort.take(cohort.values["prior_chemotherapy"] == 1.0)
    assert cautions(fit(treated), BREAST) == set()
    assert cautions(fit(treated), BREAST | {"prior_chemotherapy": False}) == {
        ("unseen_category", "prior_chemotherapy")
    }


def test_a_number_that_no_training_patient_had_is_out_of_range():
    cohort = simulated_cohort(200, seed=9)
    unknown = cohort.values | {"oestrogen_receptor": np.full(200, np.nan)}
    blank = Cohort(cohort.dictionary, cohort.patients, unknown, cohort.provenance)
    assert cautions(fit(blank), BREAST) == {("out_of_range", "oestrogen_receptor")}


def test_every_problem_is_named_at_once(applicability):
    odd = {k: v for k, v in BREAST.items() if k != "tumour_size"} | {"age": 119.0, "sex": "male"}
    assert cautions(applicability, odd) == {
        ("out_of_range", "age"),
        ("unseen_category", "sex"),
        ("missing", "tumour_size"),
    }


def test_a_message_names_the_field_and_its_unit_but_no_patients_value(applicability):
    (caution,) = found_in(applicability, BREAST | {"age": 117.0})
    assert caution.message.startswith("Age at the index date")
    assert "years" in caution.message
    assert "117" not in caution.message


def test_a_stored_summary_warns_as_before(applicability):
    again = Applicability.from_dict(json.loads(json.dumps(applicability.as_dict())))
    assert again == applicability
