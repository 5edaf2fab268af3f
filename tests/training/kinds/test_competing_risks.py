"""Competing risks: what cannot be judged has no value."""

import json

import numpy as np

from features.endpoints import ENDPOINTS, CompetingOutcome
from training.kinds.registry import kind_of
from training.scoring import Estimate, Scale


def test_what_nobody_can_be_compared_by_has_no_value_and_is_still_plain_json():
    kind = kind_of(ENDPOINTS["relapse_and_non_relapse_mortality"])
    outcome = CompetingOutcome(np.arange(1.0, 41.0), np.tile([1, 0], 20))
    scale = Scale(np.array([12.0, 24.0]), (12.0, 24.0), samples=20, seed=1)
    predicted = np.tile(np.linspace(0.1, 0.4, 40)[:, None, None], (1, 2, 2))
    scores = kind.score(predicted, outcome, scale)
    assert scores["non_relapse_mortality.c"] == Estimate(None)
    assert scores["relapse.c"].value is not None
    json.dumps({name: estimate.as_dict() for name, estimate in scores.items()}, allow_nan=False)
