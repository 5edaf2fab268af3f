"""Who enters the cohort: each line is a patient of a made-up ward and what becomes of them.

Time zero is the first relapse. Days count from diagnosis. Whoever does not enter is counted under a reason,
and a row that cannot be understood stops the whole table rather than vanish from it.
"""

from pathlib import Path

import pytest

from features.endpoints import overall_survival
from features.errors import InvalidCohort
from tests.features.sources.ward import build, rows

ENTERS = "enters"
NO_RELAPSE = "no relapse recorded"
NO_FOLLOW_UP = "no follow-up after the index date"
UNKNOWN_CODE = "code is not in the recipe"

# fmt: off
TABLE = [
    # who                                        relapsed  relapse day     last day  dead   what becomes
    ("died two years after the relapse",         1,        365,            1095,     1,     ENTERS),
    ("alive at last contact",                    1,        365,            1095,     0,     ENTERS),
    ("died the day after the relapse",           1,        365,            366,      1,     ENTERS),
    ("relapsed at diagnosis",                    1,        0,              400,      1,     ENTERS),
    ("last contact is not known",                1,        365,            None,     0,     ENTERS),
    ("never relapsed",                           0,        None,           3650,     0,     NO_RELAPSE),
    ("died without a relapse",                   0,        None,           700,      1,     NO_RELAPSE),
    ("relapse not assessed, and coded so",       9,        None,           700,      0,     NO_RELAPSE),
    ("died the day of the relapse",              1,        365,            365,      1,     NO_FOLLOW_UP),
    ("last seen the day of the relapse",         1,        365,            365,      0,     NO_FOLLOW_UP),
    ("relapse coded as nobody knows",            7,        365,            1095,     1,     UNKNOWN_CODE),
    ("relapse left empty",                       None,     365,            1095,     1,     UNKNOWN_CODE),
    ("fate coded as nobody knows",               1,        365,            1095,     3,     UNKNOWN_CODE),
    ("died before the relapse",                  1,        365,            200,      1,     "out of range"),
    ("relapsed before diagnosis",                1,        -30,            400,      1,     "out of range"),
    ("followed for more than fifty years",       1,        0,              18300,    0,     "out of range"),
]
# fmt: on

KNOWN = ("relapsed", "relapse_day", "last_day", "dead")


def row(*values: object) -> dict[str, object]:
    return dict(zip(KNOWN, values, strict=True))


def fate(folder: Path, patient: dict[str, object]) -> str:
    try:
        cohort = build(folder, rows(patient))
    except InvalidCohort as refused:
        (kind,) = {problem.problem for problem in refused.problems}
        return kind
    reasons = [s.reason for s in cohort.provenance[0].attrition.exclusions if s.excluded]
    assert len(cohort) + len(reasons) == 1
    return reasons[0] if reasons else ENTERS


@pytest.mark.parametrize(("who", "relapsed", "relapse", "last", "dead", "expected"), TABLE)
def test_a_patient_meets_their_fate(
    tmp_path: Path, who: str, relapsed: object, relapse: object, last: object, dead: object, expected: str
):
    assert fate(tmp_path, row(relapsed, relapse, last, dead)) == expected, who


def test_together_everyone_understood_enters_or_is_counted(tmp_path: Path):
    understood = [line for line in TABLE if line[5] in (ENTERS, NO_RELAPSE, NO_FOLLOW_UP)]
    cohort = build(tmp_path, rows(*(row(*line[1:5]) for line in understood)))
    (stated,) = cohort.provenance
    fates = [line[5] for line in understood]
    assert len(cohort) == fates.count(ENTERS)
    assert {s.reason: s.excluded for s in stated.attrition.exclusions} == {
        reason: fates.count(reason) for reason in (NO_RELAPSE, NO_FOLLOW_UP)
    }


@pytest.mark.parametrize(
    "line", [line for line in TABLE if line[5] not in (ENTERS, NO_RELAPSE, NO_FOLLOW_UP)]
)
def test_one_row_not_understood_stops_the_table(tmp_path: Path, line: tuple[object, ...]):
    with pytest.raises(InvalidCohort) as caught:
        build(tmp_path, rows({}, {}, row(*line[1:5])))
    assert {p.examples for p in caught.value.problems} == {(3,)}


def test_whose_last_contact_is_unknown_is_named_before_survival_is_counted(tmp_path: Path):
    cohort = build(tmp_path, rows({}, {"last_day": None}))
    with pytest.raises(InvalidCohort) as caught:
        overall_survival(cohort)
    assert [(p.field, p.problem, p.examples) for p in caught.value.problems] == [
        ("months_followed", "has no value", (2,))
    ]
