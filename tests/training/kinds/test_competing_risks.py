"""Competing risks: what cannot be judged has no value."""

import json

import numpy as np

from features.endpoints import ENDPOINTS, CompetingOutcome
from tests.training.samples import TIMES, competing_sample
from training.kinds.registry import kind_of
from training.scoring import Estimate, Scale


def test_what_nobody_can_be_compared_by_has_no_value_and_is_still_plain_json():
    kind = kind_of(ENDPOINTS["relapse_and_non_relapse_mortality"])
    outcome = CompetingOutcome(np.arange(1.0, 41.0), np.tile([1, 0], 20))
    scale = Scale(np.array([12.0, 24.0]), (12.0, 24.0), samples=20, seed=1)
    predicted = np.tile(np.linspace(0.1, 0.4, 40)[:, None, None], (1, 2, 2))
    scores = kind.score(predicted, outcome, scale)
    assert scores["non_relapse_mortality.c"] == Estimate.missing("0 events by 24 months, fewer than 10")
    assert scores["non_relapse_mortality.ici_24"].reason == "0 patients with the outcome, fewer than 10"
    assert scores["relapse.c"].value is not None
    json.dumps({name: estimate.as_dict() for name, estimate in scores.items()}, allow_nan=False)


def test_every_cause_has_every_figure_with_an_interval_and_the_curves_are_tested_together():
    _, _, outcome, truth = competing_sample()
    kind = kind_of(ENDPOINTS["relapse_and_non_relapse_mortality"])
    scale = Scale(TIMES[1:], (24.0, 60.0), samples=50, seed=1)
    scores = kind.score(truth[:, :, 1:], outcome, scale)
    for cause in kind.names:
        assert 0.5 < scores[f"{cause}.c"].low < scores[f"{cause}.c"].value < scores[f"{cause}.c"].high
        for horizon in (24, 60):
            ratio = scores[f"{cause}.observed_to_expected_{horizon}"]
            assert ratio.low < 1.0 < ratio.high
            for name in ("ici", "e50", "e90"):
                error = scores[f"{cause}.{name}_{horizon}"]
                assert error.low <= error.value < 0.05
                assert error.value < error.high
    assert scores["a_calibration"].value > 0.01
    assert scores["d_calibration"].value > 0.01


def test_an_incidence_that_is_far_too_high_is_found_out():
    _, _, outcome, truth = competing_sample()
    kind = kind_of(ENDPOINTS["relapse_and_non_relapse_mortality"])
    scale = Scale(TIMES[1:], (24.0,), samples=50, seed=1)
    wrong = truth[:, :, 1:] * np.array([1.0, 1.6, 1.0])[:, None]
    scores = kind.score(np.minimum(wrong, 0.99), outcome, scale)
    assert scores["non_relapse_mortality.ici_24"].low > 0.05
    assert scores["relapse.ici_24"].low == 0.0
    assert scores["non_relapse_mortality.observed_to_expected_24"].high < 0.8
    assert scores["a_calibration"].value < 0.001
