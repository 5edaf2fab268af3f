"""The mixture: what it answers, and that its weights follow the evidence."""

import numpy as np
import pytest

from features.censoring import Outcome
from features.errors import NotFittable
from models.cox import RidgeCox
from models.ensemble import CrossValidatedMixture, _choose_weight
from tests.models.outcomes import sample_outcome

TIMES = np.linspace(2.0, 60.0, 30)
QUICK = CrossValidatedMixture(until=60.0, cox=RidgeCox(penalties=(1.0,), folds=3), folds=3)


def made(seed, *, patients, curved=False):
    """Return two strata; hazards rise with the first column, or with its distance from zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 2))
    strata = rng.integers(0, 2, patients)
    score = 2.0 * (np.abs(X[:, 0]) > 1) if curved else 0.8 * X[:, 0]
    return X, strata, sample_outcome(rng, np.array([0.02, 0.04])[strata] * np.exp(score))


@pytest.fixture(scope="module")
def fitted():
    X, strata, outcome = made(1, patients=500, curved=True)
    return X, strata, QUICK.fit(X, strata, outcome)


def test_each_stratum_has_a_weight_between_0_and_1(fitted):
    weight = fitted[2].cox_weight
    assert weight.shape == (2,)
    assert ((weight >= 0) & (weight <= 1)).all()


def test_survival_is_the_weighted_mean_of_its_members(fitted):
    X, strata, model = fitted
    cox, boosted = model.cox.survival(X, strata, TIMES), model.hazard.survival(X, strata, TIMES)
    assert np.abs(cox - boosted).max() > 0.1
    for stratum, weight in enumerate(model.cox_weight):
        rows = strata == stratum
        expected = weight * cox[rows] + (1.0 - weight) * boosted[rows]
        np.testing.assert_allclose(model.survival(X, strata, TIMES)[rows], expected, atol=1e-12)


def test_survival_lies_between_0_and_1_and_never_rises(fitted):
    rng = np.random.default_rng(3)
    anyone = rng.normal(size=(300, 2)) * 5.0
    anyone[rng.random(anyone.shape) < 0.2] = np.nan
    survival = fitted[2].survival(anyone, rng.integers(0, 2, 300), np.linspace(0.0, 200.0, 101))
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 1e-12).all()


def test_the_boosted_hazard_starts_from_the_mixtures_own_cox_model(fitted):
    model = fitted[2]
    assert model.hazard.start.as_dict() == model.cox.as_dict()


def test_where_hazards_are_proportional_the_cox_model_carries_the_mixture():
    assert QUICK.fit(*made(4, patients=800)).cox_weight.min() >= 0.5


def test_where_the_effect_is_curved_the_boosted_hazard_carries_the_mixture():
    assert QUICK.fit(*made(5, patients=1200, curved=True)).cox_weight.max() <= 0.5


def test_the_same_data_give_the_same_model(fitted):
    again = QUICK.fit(*made(1, patients=500, curved=True))
    model = fitted[2]
    assert again.cox.as_dict() == model.cox.as_dict()
    assert again.hazard.booster == model.hazard.booster
    assert again.hazard.as_dict() == model.hazard.as_dict()
    assert again.cox_weight.tolist() == model.cox_weight.tolist()


def test_fewer_events_than_folds_are_not_fittable():
    X, strata, outcome = made(6, patients=200)
    event = outcome.event.copy()
    event[np.flatnonzero(event & (strata == 1))[2:]] = False
    with pytest.raises(NotFittable, match="a disease has 2 events; 3-fold cross-validation needs 3"):
        QUICK.fit(X, strata, Outcome(outcome.duration, event))


def compared(seed, *, patients=400):
    """Return deaths nobody censors, the true curves and curves that are the same for everyone."""
    rng = np.random.default_rng(seed)
    hazard = rng.lognormal(-3.5, 0.8, patients)
    outcome = Outcome(rng.exponential(1.0 / hazard), np.ones(patients, dtype=bool))
    blunt = np.exp(-np.outer(np.full(patients, 0.05), TIMES))
    return outcome, np.exp(-np.outer(hazard, TIMES)), blunt


def test_members_that_cannot_be_told_apart_weigh_one_half_each():
    outcome, truth, _ = compared(7)
    assert _choose_weight(np.stack([truth, truth]), outcome, TIMES) == 0.5


def test_the_weight_is_the_logistic_function_of_the_error_saved_in_standard_errors():
    outcome, truth, blunt = compared(8)
    close = 0.9 * truth + 0.1 * blunt
    alive = outcome.duration[:, None] > TIMES  # nobody is censored, so the Brier score needs no weights
    cox, boosted = (np.trapezoid((alive - c) ** 2, TIMES, axis=1) / 58.0 for c in (close, truth))
    z = (boosted - cox).mean() / ((boosted - cox).std(ddof=1) / 20.0)
    chosen = _choose_weight(np.stack([close, truth]), outcome, TIMES)
    assert chosen == pytest.approx(1.0 / (1.0 + np.exp(-z)), abs=1e-9)
    assert 0.0 < chosen < 0.5


def test_a_member_that_is_clearly_better_gets_nearly_all():
    outcome, truth, blunt = compared(9)
    assert _choose_weight(np.stack([truth, blunt]), outcome, TIMES) > 0.95
    assert _choose_weight(np.stack([blunt, truth]), outcome, TIMES) < 0.05


def test_exchanging_the_members_exchanges_their_weights():
    outcome, truth, blunt = compared(10, patients=60)
    one, other = (_choose_weight(np.stack(c), outcome, TIMES) for c in ((truth, blunt), (blunt, truth)))
    assert one + other == pytest.approx(1.0)
