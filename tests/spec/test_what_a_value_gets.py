"""What a value gets: each line is a field, a value as given in a request, and the verdict.

Nothing is rounded, clipped or guessed. A value left out, or given as null, is missing and accepted.
"""

import json

import pytest

from features.dictionary import load_dictionary
from features.errors import InvalidRequest
from features.protocol import load_protocol
from tests.lib.patients import one_patient

ASKED = "fits {0} better than {1}: did you mean {0}?"

# fmt: off
TABLE = [
    # field                          value                     verdict
    ("age",                          "61",                     "accepted"),
    ("age",                          "61.5",                   "accepted"),
    ("age",                          "0",                      "accepted"),
    ("age",                          "120",                    "accepted"),
    ("age",                          "null",                   "missing"),
    ("age",                          "120.5",                  "out of range"),
    ("age",                          "-1",                     "out of range"),
    ("age",                          '"61"',                   "wrong type"),
    ("age",                          '"sixty"',                "wrong type"),
    ("age",                          "true",                   "wrong type"),
    ("age",                          "[61]",                   "wrong type"),
    ("age",                          "NaN",                    "not a finite number"),
    ("age",                          "Infinity",               "not a finite number"),
    ("age",                          "1e999",                  "not a finite number"),
    ("positive_lymph_nodes",         "0",                      "accepted"),
    ("positive_lymph_nodes",         "4",                      "accepted"),
    ("positive_lymph_nodes",         "4.0",                    "accepted"),
    ("positive_lymph_nodes",         "4.5",                    "not a whole number"),
    ("positive_lymph_nodes",         "101",                    "out of range"),
    ("positive_lymph_nodes",         "false",                  "wrong type"),
    ("months_diagnosis_to_relapse",  "0",                      "accepted"),
    ("months_diagnosis_to_relapse",  "-0.5",                   "out of range"),
    ("months_diagnosis_to_relapse",  "601",                    ASKED.format("days", "months")),
    ("months_diagnosis_to_relapse",  "20000",                  "out of range"),
    ("albumin",                      "38",                     "accepted"),
    ("albumin",                      "3.8",                    ASKED.format("g/dL", "g/L")),
    ("haemoglobin",                  "118",                    ASKED.format("g/L", "g/dL")),
    ("oestrogen_receptor",           "10000",                  "accepted"),
    ("oestrogen_receptor",           "10001",                  "out of range"),
    ("oestrogen_receptor",           '"positive"',             "wrong type"),
    ("prior_chemotherapy",           "true",                   "accepted"),
    ("prior_chemotherapy",           "false",                  "accepted"),
    ("prior_chemotherapy",           "null",                   "missing"),
    ("prior_chemotherapy",           "1",                      "wrong type"),
    ("prior_chemotherapy",           '"yes"',                  "wrong type"),
    ("sex",                          '"female"',               "accepted"),
    ("sex",                          '"Female"',               "unknown category"),
    ("sex",                          '"f"',                    "unknown category"),
    ("sex",                          '""',                     "unknown category"),
    ("tumour_grade",                 '"grade_3"',              "accepted"),
    ("tumour_grade",                 "3",                      "unknown category"),
    ("disease",                      '"colorectal_cancer"',    "accepted"),
    ("disease",                      '"lymphoma"',             "unknown category"),
    ("shoe_size",                    "44",                     "unknown field"),
]

NOT_HERE = "does not apply to this disease"

APPLIES = [
    # field                      value             in breast cancer   in colorectal cancer
    ("menopausal_status",        "premenopausal",  "accepted",        NOT_HERE),
    ("tumour_size",              "over_50_mm",     "accepted",        NOT_HERE),
    ("oestrogen_receptor",       80.0,             "accepted",        NOT_HERE),
    ("progesterone_receptor",    0,                "accepted",        NOT_HERE),
    ("prior_endocrine_therapy",  True,             "accepted",        NOT_HERE),
    ("local_extent",             "serosa",         NOT_HERE,          "accepted"),
    ("bowel_obstruction",        False,            NOT_HERE,          "accepted"),
    ("bowel_perforation",        True,             NOT_HERE,          "accepted"),
    ("organ_adherence",          True,             NOT_HERE,          "accepted"),
    ("prior_levamisole",         True,             NOT_HERE,          "accepted"),
    ("age",                      61.5,             "accepted",        "accepted"),
    ("tumour_grade",             "grade_2",        "accepted",        "accepted"),
    ("prior_chemotherapy",       True,             "accepted",        "accepted"),
]
# fmt: on


def verdict(field: str, patient: dict[str, object]) -> str:
    try:
        cohort = one_patient(patient, dictionary=load_dictionary())
    except InvalidRequest as refused:
        (problem,) = refused.problems
        assert problem.field == field
        return problem.problem
    given_back = cohort.patient(0)[field]
    assert given_back == patient[field]
    return "missing" if given_back is None else "accepted"


@pytest.mark.parametrize(("field", "value", "expected"), TABLE)
def test_a_value_gets_its_verdict(field: str, value: str, expected: str):
    assert verdict(field, {field: json.loads(value)}) == expected


@pytest.mark.parametrize(("field", "value", "breast", "colorectal"), APPLIES)
def test_a_value_is_for_its_diseases_only(field: str, value: object, breast: str, colorectal: str):
    assert verdict(field, {"disease": "breast_cancer", field: value}) == breast
    assert verdict(field, {"disease": "colorectal_cancer", field: value}) == colorectal


def test_every_field_of_one_disease_has_its_line():
    predictors = load_dictionary().slice(load_protocol("relapse-survival").predictors)
    scoped = {field.name for field in predictors.fields if field.applies_to}
    assert scoped == {field for field, *_ in APPLIES} - {"age", "tumour_grade", "prior_chemotherapy"}
