"""The course of boosting: its start is the life table of the person-interval table. Synthetic."""

import numpy as np

from models.estimators.course import life_table
from models.estimators.hazard import baseline, chance, interval_edges, person_intervals
from tests.models.outcomes import sample_outcome


def test_the_life_table_is_the_baseline_of_the_table():
    rng = np.random.default_rng(8)
    strata, score = rng.integers(0, 2, 300), 0.4 * rng.normal(size=300)
    outcome = sample_outcome(rng, np.array([0.02, 0.05])[strata] * np.exp(score))
    edges = interval_edges(outcome, count=12)
    expected = baseline(strata, person_intervals(outcome, edges), score, strata_count=2, intervals=len(edges))
    np.testing.assert_allclose(life_table(strata, outcome, edges=edges, score=score), expected, atol=1e-12)
    assert 0.0 < chance(expected).mean() < 0.3
