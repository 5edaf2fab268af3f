"""Applicability: every way in which a patient is unlike those trained on is said, and nothing else."""

import json
from dataclasses import replace

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


def too_far(applicability, patient):
    known = load_dictionary().slice(protocol().predictors)
    values = read_patient(patient, dictionary=known)
    return list(applicability.too_far(values, patient["disease"], known))


def cautions(applicability, patient):
    return {(caution.kind, caution.predictor) for caution in found_in(applicability, patient)}


@pytest.mark.parametrize("patient", [BREAST, COLON])
def test_a_patient_like_the_training_cohort_gets_no_warning(applicability, patient):
    assert cautions(applicability, patient) == set()


@pytest.mark.parametrize("patient", [BREAST, COLON])
def test_what_is_not_known_is_like_anybody(applicability, patient):
    """One caution for all of it comes from the answer, which knows what matters most."""
    only = {"disease": patient["disease"]}
    assert cautions(applicability, only) == set()
    assert too_far(applicability, only) == []


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
    }


def test_a_message_names_the_field_and_its_unit_but_no_patients_value(applicability):
    (caution,) = found_in(applicability, BREAST | {"age": 117.0})
    assert caution.message.startswith("Age at the index date")
    assert "years" in caution.message
    assert "117" not in caution.message


def test_a_stored_summary_warns_as_before(applicability):
    again = Applicability.from_dict(json.loads(json.dumps(applicability.as_dict())))
    assert again == applicability


# Too far to be answered for


def ends(applicability, name, *, log=False):
    """Return how far a number may be: half the width of the range beyond it, on the encoder's scale."""
    low, high = applicability.ranges["breast_cancer"][name]
    if not log:
        return low - (high - low) / 2, high + (high - low) / 2
    low, high = np.log1p([low, high])
    return tuple(np.expm1([low - (high - low) / 2, high + (high - low) / 2]))


@pytest.mark.parametrize(("name", "log"), [("age", False), ("oestrogen_receptor", True)])
def test_within_half_the_ranges_width_a_number_is_answered_for_and_beyond_it_refused(cohort, name, log):
    """The fields' own limits aside, which refuse most of what is so far off."""
    found = fit(cohort)
    field = replace(load_dictionary()[name], minimum=None, maximum=None)
    known = load_dictionary().slice(protocol().predictors)
    check = found._check(field, "breast_cancer")
    least, most = ends(found, name, log=log)
    assert check.near(float("nan"))
    for end, step in ((least, -1.0), (most, 1.0)):
        assert check.near(end - step * 1e-6)
        assert not check.near(end + step * 1e-6)
    patient = read_patient(BREAST, dictionary=known) | {name: most * 1.0001}
    (problem,) = found.too_far(patient, "breast_cancer", known)
    low, high = found.ranges["breast_cancer"][name]
    assert problem.field == name
    assert problem.problem.startswith("is too far from what training saw in this disease: ")
    assert f"{low:.4g} to {high:.4g}" in problem.problem
    assert "check the value and its unit" in problem.remedy
    assert f"{patient[name]:.4g}" not in str(problem)


def test_what_is_near_is_answered_with_a_caution_and_every_value_too_far_is_named(applicability):
    low, high = applicability.ranges["breast_cancer"]["age"]
    assert too_far(applicability, BREAST | {"age": high + 0.2 * (high - low)}) == []
    assert cautions(applicability, BREAST | {"age": high + 0.2 * (high - low)}) == {("out_of_range", "age")}
    both = BREAST | {"months_diagnosis_to_relapse": 599.0, "positive_lymph_nodes": 99}
    far = {problem.field for problem in too_far(applicability, both)}
    expected = {
        name
        for name in ("months_diagnosis_to_relapse", "positive_lymph_nodes")
        if both[name] > ends(applicability, name, log=load_dictionary()[name].scale == "log")[1]
    }
    assert far == expected


def test_a_number_of_which_training_saw_one_value_alone_has_no_width_to_be_too_far_from():
    cohort = simulated_cohort(200, seed=9)
    same = cohort.values | {"age": np.full(200, 50.0)}
    found = fit(Cohort(cohort.dictionary, cohort.patients, same, cohort.provenance))
    assert too_far(found, BREAST | {"age": 100.0}) == []
    assert cautions(found, BREAST | {"age": 100.0}) >= {("out_of_range", "age")}
