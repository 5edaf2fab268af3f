"""Splitting: every patient is held out once, by a model that never saw them."""

import numpy as np
import pytest

from features.endpoints import overall_survival
from models.bundle.bundle import strata
from tests.lib.patients import protocol
from training.split import split_by_patient


@pytest.fixture(scope="module")
def split(cohort):
    stratum = strata(cohort, protocol().diseases)
    return split_by_patient(stratum, overall_survival(cohort), folds=5, seed=1)


def test_every_patient_is_held_out_exactly_once(split, cohort):
    held_out = np.sum([test for _, test in split.parts()], axis=0)
    assert (held_out == 1).all()
    assert len(held_out) == len(cohort)


def test_nobody_is_trained_on_and_held_out_at_once(split):
    parts = split.parts()
    assert len(parts) == 5
    for train, test in parts:
        assert not (train & test).any()
        assert (train | test).all()


def test_each_fold_has_its_share_of_every_diseases_deaths(split, cohort):
    stratum, event = strata(cohort, protocol().diseases), overall_survival(cohort).event
    for disease in (0, 1):
        deaths = np.bincount(split.fold[event & (stratum == disease)], minlength=5)
        assert np.ptp(deaths) <= 3
