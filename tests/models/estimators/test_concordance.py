"""Concordance, against scikit-survival and by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sksurv.metrics import concordance_index_censored

from features.censoring import Outcome
from models.estimators.concordance import concordance
from tests.models.outcomes import tied_outcomes


@given(st.data(), tied_outcomes(smallest=2))
def test_harrells_c_is_scikit_survivals_with_any_ties(data, outcome):
    last = outcome.duration[outcome.event].min(initial=np.inf)
    assume(((outcome.duration > last) | ((outcome.duration == last) & ~outcome.event)).any())
    size = len(outcome)
    risk = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), dtype=np.float64)
    expected = concordance_index_censored(outcome.event, outcome.duration, risk)[0]
    assert concordance(risk, outcome) == pytest.approx(expected, abs=1e-12)


def test_pairs_count_the_weight_of_whoever_has_the_event_before_the_end():
    # the pairs: 1 before 2 (concordant), 1 before 3 (not), 2 before 3 (not); 3 is censored
    outcome = Outcome(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))
    risk, weight = np.array([5.0, 1.0, 7.0]), np.array([2.0, 3.0, 100.0])
    assert concordance(risk, outcome) == pytest.approx(1 / 3)
    assert concordance(risk, outcome, weight) == pytest.approx(2 / 7)
    assert concordance(risk, outcome, weight, until=2.0) == pytest.approx(1 / 2)


def test_without_a_pair_to_compare_there_is_no_concordance():
    assert np.isnan(concordance(np.array([1.0, 2.0]), Outcome(np.ones(2), np.ones(2, dtype=bool))))
    assert np.isnan(concordance(np.array([1.0, 2.0]), Outcome(np.arange(2.0), np.zeros(2, dtype=bool))))
