"""Columns as bins: which side of a threshold a value is on, and where many values are cut. Synthetic."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.estimators.bins import Binned


@given(arrays(np.float64, st.integers(1, 400), elements=st.floats(-5, 5) | st.just(np.nan)))
def test_a_bin_is_on_the_side_of_a_threshold_on_which_its_values_are(column):
    with ThreadPoolExecutor(1) as pool:
        binned = Binned.of(column[:, None], np.ones(len(column), dtype=bool), pool)
    codes, values = binned.codes[:, 0], column.astype(np.float32)
    assert ((codes == 0) == np.isnan(column)).all()
    seen = codes > 0
    for below in range(int(binned.bins[0]) + 1):
        np.testing.assert_array_equal(
            codes[seen] <= below, values[seen] < np.float32(binned.threshold(1, below))
        )


def test_many_values_are_cut_at_quantiles():
    column = np.random.default_rng(9).exponential(size=(50_000, 1))
    with ThreadPoolExecutor(1) as pool:
        codes = Binned.of(column, np.ones(len(column), dtype=bool), pool).codes[:, 0]
    counts = np.bincount(codes)[1:]
    assert len(counts) == 255
    assert counts.min() > 0.9 * 50_000 / 255
    assert counts.max() < 1.1 * 50_000 / 255
