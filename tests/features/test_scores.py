"""Published scores: points and groups on patients worked by hand from the sources."""

# ruff: noqa: E501  one patient a line

import math

import pytest

from features.dictionary import load_dictionary
from features.errors import NotFound
from features.scores import DERIVED, compute, load_score, score_names
from tests.lib.patients import one_patient


def scored(name, **patient):
    found = compute(load_score(name), one_patient(patient, dictionary=load_dictionary()))
    return found.points[0], found.groups[0]


AML = {"disease": "aml"}
HL = {"disease": "hodgkin_lymphoma"}
CRC = {"disease": "colorectal_cancer"}
GCT = {"disease": "germ_cell_tumour", "site_liver": False, "site_bone": False, "site_brain": False}


@pytest.mark.parametrize(
    ("name", "patient", "points", "group"),
    [
        ("breems_epi", AML | {"months_of_response": 24, "aml_cytogenetics": "inv_16", "prior_autologous_transplant": False, "prior_allogeneic_transplant": False, "age": 35}, 0, "favourable"),
        ("breems_epi", AML | {"months_of_response": 18, "aml_cytogenetics": "t_8_21", "prior_autologous_transplant": False, "prior_allogeneic_transplant": False, "age": 40}, 7, "intermediate"),
        ("breems_epi", AML | {"months_of_response": 6.9, "aml_cytogenetics": "other", "prior_allogeneic_transplant": True, "age": 60}, 14, "unfavourable"),
        ("goelams_go_a", AML | {"months_of_response": 20, "flt3_itd": "negative", "cytogenetic_risk": "intermediate"}, 0, "0 points"),
        ("goelams_go_a", AML | {"disease_status": "primary_refractory", "flt3_itd": "positive", "cytogenetic_risk": "adverse"}, 3, "2 to 3 points"),
        ("cibmtr_active_leukaemia", AML | {"months_of_response": 8, "circulating_blasts": False, "plan_donor": "matched_sibling", "karnofsky": 90, "cytogenetic_risk": "favourable"}, 0, "0 points"),
        ("cibmtr_active_leukaemia", AML | {"months_of_response": 3, "circulating_blasts": True, "plan_donor": "other_related", "ecog": "ecog_1", "cytogenetic_risk": "adverse"}, 6, "3 or more points"),
        ("second_line_age_adjusted_ipi", {"disease": "dlbcl", "stage_at_relapse": "stage_2", "ldh_ratio": 1.0, "karnofsky": 80}, 0, "low"),
        ("second_line_age_adjusted_ipi", {"disease": "dlbcl", "stage_at_relapse": "stage_4", "ldh_ratio": 1.2, "ecog": "ecog_2"}, 3, "high"),
        ("parma_ipi", {"disease": "dlbcl", "ipi_points": 5}, 3, "3 or more points"),
        ("ghsg_five_factor", HL | {"stage_at_relapse": "stage_4", "months_treatment_end_to_relapse": 3, "ecog": "ecog_1", "largest_lesion": 50, "prior_best_response": "stable_disease"}, 5, "3 or more points"),
        ("mskcc_hodgkin", HL | {"b_symptoms": False, "extranodal_disease": True, "months_of_response": 14}, 1, "0 to 1 points"),
        ("regotas_regorafenib", CRC | {"aspartate_aminotransferase": 41, "c_reactive_protein": 10, "sites_of_disease": 3, "months_diagnosis_to_relapse": 17}, 9, "low benefit"),
        ("regotas_trifluridine_tipiracil", CRC | {"aspartate_aminotransferase": 40, "c_reactive_protein": 9, "ca_19_9": 37, "ecog": "ecog_0"}, 0, "high benefit"),
        ("nih_recurrent_glioma", {"disease": "glioblastoma", "eloquent_location": True, "karnofsky": 80, "tumour_volume": 50}, 3, "poor"),
        ("lipi", {"disease": "nsclc", "neutrophils": 8, "white_cells": 10, "ldh_ratio": 0.9}, 1, "intermediate"),
        ("ipfsg", GCT | {"histology": "seminoma", "germ_cell_primary": "gonadal", "germ_cell_response": "complete_or_marker_negative", "months_treatment_end_to_relapse": 9, "afp": 3, "hcg": 5}, -1, "very low"),
        ("ipfsg", GCT | {"site_brain": True, "histology": "non_seminoma", "germ_cell_primary": "mediastinal", "germ_cell_response": "progressive", "months_treatment_end_to_relapse": 1, "afp": 5000, "hcg": 2000}, 3, "very high"),
    ],
)  # fmt: skip
def test_points_and_group_are_those_of_the_source(name, patient, points, group):
    assert scored(name, **patient) == (points, group)


@pytest.mark.parametrize("name", score_names())
def test_nobody_is_scored_with_an_input_missing(name):
    points, group = scored(name, disease=load_score(name).applies_to[0])
    assert math.isnan(points)
    assert group is None


@pytest.mark.parametrize("name", score_names())
def test_a_score_belongs_to_its_diseases(name):
    other = "breast_cancer" if name != "breems_epi" else "colorectal_cancer"
    assert scored(name, disease=other)[1] is None


@pytest.mark.parametrize("name", score_names())
def test_every_input_is_in_the_dictionary_or_derived(name):
    assert all(given in load_dictionary() or given in DERIVED for given in load_score(name).inputs)


@pytest.mark.parametrize("name", score_names())
def test_every_score_states_source_time_zero_and_what_was_not_verified(name):
    score = load_score(name)
    assert score.source
    assert score.time_zero
    assert score.verified != bool(score.unverified)
    assert [g.up_to for g in score.groups] == sorted({g.up_to for g in score.groups})
    assert all(group.published for group in score.groups)


def test_missing_inputs_are_counted():
    patient = {"disease": "nsclc", "ldh_ratio": 2.0}
    found = compute(load_score("lipi"), one_patient(patient, dictionary=load_dictionary()))
    assert found.missing == {"derived_neutrophil_lymphocyte_ratio": 1, "ldh_ratio": 0}


def test_an_unknown_score_names_the_known_ones():
    with pytest.raises(NotFound, match="breems_epi"):
        load_score("apache")
