"""Overall survival: months from the index date, and who cannot be counted."""

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.endpoints import ENDPOINTS, ResponseOutcome, overall_survival
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
    known = {load_dictionary()[name].known for e in ENDPOINTS.values() for name in e.fields}
    assert known == {"after"}
    assert all(e.name == name for name, e in ENDPOINTS.items())


def responses(*values: str | None) -> ResponseOutcome:
    frame = simulated_frame(len(values), seed=1).assign(response=list(values)).astype(object)
    fields = load_dictionary().slice((*dictionary().names, "response"))
    return ENDPOINTS["response"].read(Cohort.from_frame(frame, dictionary=fields))


def test_responses_widen_from_complete_to_disease_control_and_the_missing_are_unknown():
    found = responses("complete_response", "partial_response", "stable_disease", "progressive_disease", None)
    assert found.names == ("complete_response", "overall_response", "disease_control")
    assert [part.event[:4].tolist() for part in found.parts] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
    ]
    assert [part.known.tolist() for part in found.parts] == [[True] * 4 + [False]] * 3


def test_a_response_that_nobody_adds_to_is_left_out():
    found = responses("complete_response", "partial_response", "progressive_disease")
    assert found.names == ("complete_response", "overall_response")
