"""Sample size: the published worked examples, and what a cohort that is too small is told.

Worked examples: Riley et al., BMJ 2020;368:m441, as the R package pmsampsize 1.1.3 computes them. It rounds
the events of ten thousand patients up, which moves its second criterion for times by at most one patient.
"""

import json

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import BinaryOutcome, CompetingOutcome
from training.sample_size import (
    OVERALL_RISK,
    OVERFITTING,
    SampleSize,
    for_competing,
    for_response,
    for_survival,
    largest_r2_of_share,
    largest_r2_of_times,
    patients_for_optimism,
    patients_for_rate,
    patients_for_share,
    patients_for_shrinkage,
)


def followed(patients, *, deaths, months=20.0):
    """Return patients who die at rising times, the others censored at the end."""
    duration = np.full(patients, months)
    duration[:deaths] = np.linspace(1.0, months, deaths) if deaths else []
    return Outcome(duration, np.arange(patients) < deaths)


@pytest.mark.parametrize(
    ("r2", "parameters", "share", "expected"),
    [
        (0.288, 24, 0.174, (623, 662, 221)),
        (0.55, 24, 0.174, (255, 532, 221)),
        (0.288, 36, 0.174, (934, 992, 221)),
        (0.288, 24, 0.25, (623, 590, 289)),
    ],
)
def test_the_worked_examples_of_a_binary_outcome(r2, parameters, share, expected):
    assert expected == (
        patients_for_shrinkage(parameters, r2=r2),
        patients_for_optimism(parameters, r2=r2, largest_r2=largest_r2_of_share(share)),
        patients_for_share(share),
    )


@pytest.mark.parametrize(
    ("r2", "parameters", "rate", "follow_up", "expected"),
    [
        (0.051, 30, 0.065, 2.07, (5143, 1039)),
        (0.051, 25, 0.065, 2.07, (4286, 866)),
        (0.065, 25, 0.065, 2.07, (3335, 859)),
        (0.051, 25, 0.1, 2.07, (4286, 731)),
        (0.051, 25, 0.065, 4.0, (4286, 679)),
        (0.3, 80, 0.03, 5.0, (1974, 2272)),
    ],
)
def test_the_worked_examples_of_times_to_an_event(r2, parameters, rate, follow_up, expected):
    largest = largest_r2_of_times(rate * follow_up)
    assert patients_for_shrinkage(parameters, r2=r2) == expected[0]
    needed = patients_for_optimism(parameters, r2=r2, largest_r2=largest)
    assert needed == pytest.approx(expected[1], abs=1)


@pytest.mark.parametrize(("rate", "horizon"), [(0.03, 24.0), (0.2, 24.0), (0.0005, 12.0)])
def test_with_the_patients_needed_the_risk_is_known_within_5_points(rate, horizon):
    follow_up = 15.0
    needed = patients_for_rate(rate, follow_up=follow_up, horizon=horizon)

    def furthest(patients):
        off = 1.96 * np.sqrt(rate / (patients * follow_up))
        rates = np.maximum([rate - off, rate + off], 0.0)
        return np.abs(np.exp(-rates * horizon) - np.exp(-rate * horizon)).max()

    assert furthest(needed) <= 0.05 < furthest(needed - 1)


def test_a_cohort_is_held_to_what_15_percent_of_the_largest_r2_needs():
    found = for_survival(followed(400, deaths=200), 20, 12.0)
    r2 = 0.15 * largest_r2_of_times(0.5)
    assert (found.patients, found.events, found.events_per_parameter) == (400, 200, 10.0)
    assert found.needed[OVERFITTING] == patients_for_shrinkage(20, r2=r2) == 1369
    better = for_survival(followed(400, deaths=200), 20, 12.0, explained_share=0.5)
    assert better.needed[OVERFITTING] < found.needed[OVERFITTING]


def test_the_unit_of_time_does_not_matter():
    outcome = followed(400, deaths=200)
    days = Outcome(outcome.duration * 30.4375, outcome.event)
    assert for_survival(outcome, 20, 12.0) == for_survival(days, 20, 12.0 * 30.4375)


def test_a_small_cohort_is_told_how_many_patients_it_lacks_and_what_to_do():
    found = for_survival(followed(400, deaths=100), 20, 12.0)
    assert not found.enough
    first, *_, advice, events = found.warnings
    assert first.startswith(f"{found.needed[OVERFITTING]:,} patients are needed so that predictions")
    assert "add patients or keep to about 4 of the 20 parameters" in advice
    assert "5.0 events for each of 20 parameters" in events


def test_the_parameters_advised_are_those_the_cohort_can_carry():
    found = for_survival(followed(400, deaths=100), 4, 12.0)
    assert found.patients >= found.needed[OVERFITTING]
    assert for_survival(followed(400, deaths=100), 5, 12.0).needed[OVERFITTING] > found.patients


def test_a_large_cohort_is_warned_of_nothing():
    found = for_survival(followed(20_000, deaths=8_000), 20, 12.0)
    assert found.enough
    assert found.warnings == ()


def test_a_response_counts_the_rarer_answer_among_patients_in_whom_it_is_known():
    event, known = np.arange(100) < 70, np.arange(100) < 90
    found = for_response(BinaryOutcome(event, known), 5)
    assert (found.patients, found.events) == (90, 20)
    assert found.needed[OVERALL_RISK] == patients_for_share(70 / 90)


def test_each_cause_has_its_own_report():
    cause = np.r_[np.full(60, 1), np.full(5, 2), np.zeros(35, dtype=int)]
    found = for_competing(CompetingOutcome(np.linspace(1.0, 30.0, 100), cause), 6, 24.0)
    assert {name: report.events for name, report in found.items()} == {
        "relapse": 60, "non_relapse_mortality": 5,
    }  # fmt: skip
    assert len(found["non_relapse_mortality"].warnings) > len(found["relapse"].warnings) > 0


@pytest.mark.parametrize(
    "found",
    [
        for_survival(followed(50, deaths=0), 5, 12.0),
        for_response(BinaryOutcome(np.zeros(50, dtype=bool), np.ones(50, dtype=bool)), 5),
        for_response(BinaryOutcome(np.ones(50, dtype=bool), np.ones(50, dtype=bool)), 5),
        for_competing(CompetingOutcome(np.ones(50), np.ones(50, dtype=int)), 5, 12.0)[
            "non_relapse_mortality"
        ],
    ],
    ids=["no death", "no response", "only responses", "no event of the other cause"],
)
def test_where_all_ended_alike_there_is_a_warning_and_no_number(found):
    assert found == SampleSize(50, 0, 5, {})
    assert not found.enough
    assert "nothing can be learned" in found.warnings[0]


@pytest.mark.parametrize(
    "found",
    [
        for_survival(followed(50, deaths=50), 5, 12.0),
        for_survival(followed(50, deaths=10), 0, 12.0),
        for_survival(followed(50, deaths=1, months=1.0), 5, 0.5),
    ],
    ids=["everyone died", "no parameter", "nobody died by the horizon"],
)
def test_extreme_cohorts_are_reported_in_plain_finite_values(found):
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()
    assert all(size >= 0 for size in found.needed.values())
