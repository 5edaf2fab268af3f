"""Folds: one a patient, balanced by disease, event and follow-up, drawn by the seed alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.estimators.folds import stratified_folds
from tests.models.outcomes import sample_outcome


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(12, 90))
def test_every_row_has_one_fold_and_folds_are_balanced(seed, folds, patients):
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 2, patients)
    outcome = sample_outcome(rng, np.full(patients, 0.03))
    fold = stratified_folds(strata, outcome, folds=folds, seed=seed)
    assert fold.shape == (patients,)
    assert set(fold.tolist()) <= set(range(folds))
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    third = np.searchsorted(np.quantile(outcome.duration, [1 / 3, 2 / 3]), outcome.duration)
    for key in {(s, e, t) for s, e, t in zip(strata, outcome.event, third, strict=True)}:
        rows = (strata == key[0]) & (outcome.event == key[1]) & (third == key[2])
        assert np.ptp(np.bincount(fold[rows], minlength=folds)) <= 1


def test_folds_follow_the_seed_and_nothing_else():
    rng = np.random.default_rng(2)
    outcome = sample_outcome(rng, np.full(200, 0.03))
    strata = rng.integers(0, 2, 200)
    first = stratified_folds(strata, outcome, folds=5, seed=1)
    assert (first == stratified_folds(strata, outcome, folds=5, seed=1)).all()
    assert (first != stratified_folds(strata, outcome, folds=5, seed=2)).any()
