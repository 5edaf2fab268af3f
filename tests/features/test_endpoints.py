"""Overall survival: months from the index date, and who cannot be counted."""

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.endpoints import ENDPOINT_FIELDS, ENDPOINTS, overall_survival
from features.errors import InvalidCohort, Problem
from tests.lib.patients import dictionary, simulated_frame


def followed(months: list[float | None], died: list[bool | None]) -> Cohort:
    frame = simulated_frame(len(months), seed=1).assign(months_followed=months, died=died).astype(object)
    return Cohort.from_frame(frame, dictionary=dictionary())


def problems(cohort: Cohort) -> list[Problem]:
    with pytest.raises(InvalidCohort) as caught:
        overall_survival(cohort)
    return list(caught.value.problems)


def test_overall_survival_is_the_follow_up_and_whether_death_ended_it():
    outcome = overall_survival(followed([3.0, 24.5], [True, False]))
    assert outcome.duration.tolist() == [3.0, 24.5]
    assert outcome.event.tolist() == [True, False]


def test_the_outcome_counts_the_cohort_s_deaths(cohort: Cohort):
    outcome = overall_survival(cohort)
    assert len(outcome) == len(cohort)
    assert outcome.event.dtype == bool
    assert outcome.event.sum() == np.nansum(cohort.values["died"])


def test_missing_follow_up_and_missing_fate_are_named_together():
    found = problems(followed([1.0, None, 2.0, None], [True, True, None, True]))
    assert [(p.field, p.problem, p.rows, p.examples) for p in found] == [
        ("months_followed", "has no value", 2, (2, 4)),
        ("died", "has no value", 1, (3,)),
    ]


def test_a_patient_without_follow_up_is_refused():
    (problem,) = problems(followed([1.0, 0.0, 2.0], [True, True, False]))
    assert (problem.field, problem.problem, problem.rows, problem.examples) == (
        "months_followed", "is zero", 1, (2,),
    )  # fmt: skip


def test_a_cohort_without_outcome_fields_is_refused_by_name():
    frame = simulated_frame(3, seed=1)
    cohort = Cohort.from_frame(frame, dictionary=load_dictionary().slice(["age", "died"]))
    (problem,) = problems(cohort)
    assert (problem.field, problem.problem) == ("months_followed", "is missing from the cohort")


def test_every_endpoint_says_which_fields_it_reads_and_none_is_a_predictor():
    assert set(ENDPOINT_FIELDS) == set(ENDPOINTS)
    known = {load_dictionary()[name].known for names in ENDPOINT_FIELDS.values() for name in names}
    assert known == {"after"}
