"""The compiled normal distribution, against plain numpy."""

import numpy as np
import pytest

from models.patient.gaussian import unusualness

COLUMNS = 6


@pytest.mark.parametrize("missing", [0, 2, 5])
def test_unusualness_is_mahalanobiss_distance_over_the_known_columns(missing):
    rng = np.random.default_rng(missing)
    among = np.corrcoef(rng.normal(size=(30, COLUMNS)).T)
    x, means, scales = rng.normal(size=COLUMNS), rng.normal(size=COLUMNS), rng.uniform(0.5, 2.0, COLUMNS)
    x[:missing] = np.nan
    z, known = ((x - means) / scales)[missing:], among[missing:, missing:]
    expected = z @ np.linalg.solve(known, z) / len(z)
    assert unusualness(x, means, scales, among) == pytest.approx(expected, rel=1e-12)


def test_where_nothing_is_known_or_varies_nobody_is_unusual():
    one = np.ones(2)
    assert unusualness(np.full(2, np.nan), one, one, np.eye(2)) == 0.0
    assert unusualness(5 * one, one, 0 * one, np.eye(2)) == 0.0
