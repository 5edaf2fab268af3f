"""Likeness: training patients are spread evenly over it, the far are rarer, and nobody unknown is rare."""

import json

import numpy as np
import pytest

from features.encoder import Encoder
from models.patient.completion import Completion
from models.patient.gaussian import unusualness
from models.patient.typicality import POINTS, Likeness
from tests.lib.patients import protocol

DISEASE = "breast_cancer"


@pytest.fixture(scope="module")
def completion(cohort):
    study = protocol()
    return Completion.fit(cohort, Encoder.fit(cohort, predictors=study.predictors), study.diseases)


@pytest.fixture(scope="module")
def likeness(completion, cohort):
    return Likeness.fit(completion, cohort)


@pytest.fixture(scope="module")
def scores(completion, cohort):
    own = cohort.take(np.array([disease == DISEASE for disease in cohort.text("disease")]))
    return completion.cohort_scores(own, DISEASE)


def shares(likeness, completion, scores):
    return np.array([likeness.typical(completion, z, DISEASE).share for z in scores])


def test_training_patients_are_spread_evenly(likeness, completion, scores):
    found = np.sort(shares(likeness, completion, scores))
    assert ((found >= 0.0) & (found <= 1.0)).all()
    np.testing.assert_allclose(found, np.linspace(0.0, 1.0, len(found)), atol=0.02)


def test_the_farther_the_rarer(likeness, completion, scores):
    correlation = completion.diseases[DISEASE].joint.correlation
    order = np.argsort([unusualness(z, correlation) for z in scores])
    assert (np.diff(shares(likeness, completion, scores)[order]) <= 0.0).all()
    far = likeness.typical(completion, np.full(scores.shape[1], 9.0), DISEASE)
    assert far.share <= 0.0
    assert "no training patient" in far.words


def test_whoever_is_unknown_is_like_everybody(likeness, completion, scores):
    nobody = likeness.typical(completion, np.full(scores.shape[1], np.nan), DISEASE)
    assert nobody.share == pytest.approx(1.0, abs=1.0 / POINTS)


def test_stored_and_read_back_it_says_the_same(likeness, completion, scores):
    read = Likeness.from_dict(json.loads(json.dumps(likeness.as_dict(), allow_nan=False)))
    read.check(protocol().diseases)
    for z in scores[:20]:
        assert read.typical(completion, z, DISEASE) == likeness.typical(completion, z, DISEASE)
