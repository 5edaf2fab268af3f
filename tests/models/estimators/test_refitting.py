"""Refitting without each fold: who saw whom, and what is handed on."""

from dataclasses import dataclass

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import CompetingOutcome
from models.estimators.folds import stratified_folds
from models.estimators.refitting import cross_fit_by_refitting
from tests.models.outcomes import sample_outcome

TIMES = np.array([3.0, 9.0, 27.0])
PATIENTS = 61


@dataclass(frozen=True)
class Memory:
    """Answers 1 for the patients it was fitted on, whose number is the only column, and 0 for any other.

    At the second time it answers the disease, at the third twice the patient's number.
    """

    seen: frozenset[float]
    outcomes = ("survival",)
    timed = True

    def predict(self, X, strata, times):
        saw = [number in self.seen for number in X[:, 0].tolist()]
        return np.stack([saw, strata, 2.0 * X[:, 0]], axis=1)[:, None, : len(times)]


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    outcome = sample_outcome(rng, np.full(PATIENTS, 0.03))
    return np.arange(float(PATIENTS))[:, None], rng.integers(0, 2, PATIENTS), outcome


def remember(X, strata, outcome):
    assert len(X) == len(strata) == len(outcome)
    return Memory(frozenset(X[:, 0].tolist()))


def cross_fit(cohort, *, repeats):
    _, strata, outcome = cohort
    folds = [stratified_folds(strata, outcome, folds=4, seed=seed) for seed in range(repeats)]
    return folds, cross_fit_by_refitting(remember, *cohort, folds=folds)


@pytest.mark.parametrize("repeats", [1, 3])
def test_each_patient_is_predicted_by_members_that_never_saw_them(cohort, repeats):
    X, strata, _ = cohort
    _, found = cross_fit(cohort, repeats=repeats)
    saw, disease, number = found.held_out.probabilities(np.arange(PATIENTS), TIMES)[:, 0].T
    assert not saw.any()
    np.testing.assert_allclose(disease, strata)
    np.testing.assert_allclose(number, 2.0 * X[:, 0])
    assert (found.model.predict(X, strata, TIMES)[:, 0, 0] == 1.0).all()


@pytest.mark.parametrize("repeats", [1, 3])
def test_members_stand_repeat_by_repeat_each_without_one_fold(cohort, repeats):
    folds, found = cross_fit(cohort, repeats=repeats)
    assert len(found.members) == 4 * repeats
    assert found.fold_share == 0.25
    expected = [
        frozenset(np.flatnonzero(fold != out).astype(float).tolist()) for fold in folds for out in range(4)
    ]
    assert [member.seen for member in found.members] == expected


def test_only_the_rows_asked_for_are_answered_in_their_order(cohort):
    _, found = cross_fit(cohort, repeats=2)
    rows = np.array([40, 2, 17, 2])
    np.testing.assert_array_equal(
        found.held_out.probabilities(rows, TIMES)[:, 0, 2], 2.0 * rows.astype(float)
    )
    assert len(found.held_out.probabilities(np.empty(0, dtype=np.int64), TIMES)) == 0


def test_over_repeats_predictions_are_averaged(cohort):
    """Each repeat's member of the patient knows others than the other repeat's: their answers differ."""
    folds, found = cross_fit(cohort, repeats=2)

    @dataclass(frozen=True)
    class Size(Memory):
        def predict(self, X, strata, times):
            return np.full((len(X), 1, len(times)), float(sum(self.seen)))

    sized = type(found.held_out)([Size(m.seen) for m in found.members], folds, *cohort[:2])
    answered = sized.probabilities(np.arange(PATIENTS), TIMES)[:, 0, 0]
    sums = np.array([float(sum(m.seen)) for m in found.members]).reshape(2, 4)
    np.testing.assert_allclose(answered, (sums[0, folds[0]] + sums[1, folds[1]]) / 2.0)
    assert len(set(answered)) > 4


def test_any_kind_of_outcome_is_taken_apart(cohort):
    X, strata, outcome = cohort
    causes = CompetingOutcome(outcome.duration, outcome.event.astype(np.int64))
    seen: list[int] = []

    def fit(X, strata, outcome):
        assert isinstance(outcome, CompetingOutcome | Outcome)
        seen.append(len(outcome))
        return remember(X, strata, outcome)

    cross_fit_by_refitting(fit, X, strata, causes, folds=[np.arange(PATIENTS) % 2])
    assert sorted(seen) == [30, 31, 61]
