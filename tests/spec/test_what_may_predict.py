"""What may predict: each line is a field, when it becomes known, and whether a model may use it.

Time zero is the first relapse. Whatever is known only later would let the future explain the past.
"""

import pytest

from features.dictionary import load_dictionary
from features.errors import InvalidProtocol
from features.protocol import StudyProtocol, load_protocol

MAY, LATE, UNKNOWN = "may predict", "known only after the index date", "not in the dictionary"

# fmt: off
TABLE = [
    # field                          known          verdict
    ("disease",                      "diagnosis",   MAY),
    ("age",                          "index",       MAY),
    ("sex",                          "diagnosis",   MAY),
    ("menopausal_status",            "diagnosis",   MAY),
    ("months_diagnosis_to_relapse",  "index",       MAY),
    ("positive_lymph_nodes",         "diagnosis",   MAY),
    ("tumour_grade",                 "diagnosis",   MAY),
    ("tumour_size",                  "diagnosis",   MAY),
    ("oestrogen_receptor",           "diagnosis",   MAY),
    ("progesterone_receptor",        "diagnosis",   MAY),
    ("local_extent",                 "diagnosis",   MAY),
    ("bowel_obstruction",            "diagnosis",   MAY),
    ("bowel_perforation",            "diagnosis",   MAY),
    ("organ_adherence",              "diagnosis",   MAY),
    ("prior_chemotherapy",           "index",       MAY),
    ("prior_endocrine_therapy",      "index",       MAY),
    ("prior_levamisole",             "index",       MAY),
    ("plan_chemotherapy",            "index",       MAY),
    ("marker_ros1",                  "index",       MAY),
    ("response",                     "after",       LATE),
    ("transplant_reached",           "after",       LATE),
    ("months_followed",              "after",       LATE),
    ("died",                         "after",       LATE),
    ("shoe_size",                    None,          UNKNOWN),
]
# fmt: on


def verdict(field: str) -> str:
    declared = load_protocol("relapse-survival").as_dict() | {"predictors": [field]}
    try:
        StudyProtocol.from_dict(declared, dictionary=load_dictionary())
    except InvalidProtocol as refused:
        (problem,) = refused.problems
        assert problem.field == field
        return next(v for v in (LATE, UNKNOWN) if v in problem.problem)
    return MAY


@pytest.mark.parametrize(("field", "known", "expected"), TABLE)
def test_a_field_may_predict_only_if_known_at_time_zero(field: str, known: str | None, expected: str):
    assert verdict(field) == expected
    if known is not None:
        assert load_dictionary()[field].known == known


def test_the_table_shows_every_field_that_the_protocol_uses():
    protocol = load_protocol("relapse-survival")
    assert set(protocol.predictors) <= {field for field, known, _ in TABLE if known}
