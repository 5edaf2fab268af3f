"""Response models: coherent outcomes, members and held-out scores, and what a fit learns and refuses."""

from dataclasses import replace

import numpy as np
import pytest

from features.endpoints import BinaryOutcome, ResponseOutcome
from features.errors import InvalidInput, NotFittable
from models.estimators.additive import AdditiveModel
from models.estimators.boosting import Boosting
from models.estimators.response import CrossFittedResponse, _recalibration
from models.estimators.slots import SlotRows

NOW = np.zeros(1)
NESTED = ("complete_response", "overall_response", "disease_control")
QUICK = CrossFittedResponse(
    penalties=(30.0, 3.0),
    boosting=Boosting(depth=3, learning_rate=0.1, rounds=20, smallest_hessian=5.0, ridge=5.0),
    folds=3,
    repeats=1,
)


def made(seed, *, patients, curved=False):
    """Return columns, two strata, true probabilities and three nested outcomes, shape (patients, 3)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 3))
    strata = rng.integers(0, 2, patients)
    score = 2.0 * (np.abs(X[:, 0]) > 1.0) if curved else 1.0 * X[:, 0]
    stepwise = 1.0 / (1.0 + np.exp(-(score[:, None] + np.array([-1.0, -0.5, 0.3]) + 0.5 * strata[:, None])))
    truth = np.cumprod(stepwise[:, ::-1], axis=1)[:, ::-1]
    had = np.cumprod((rng.random(truth.shape) < stepwise)[:, ::-1], axis=1)[:, ::-1] == 1
    return X, strata, truth, had


def outcomes(had, known=None, names=NESTED):
    known = np.ones(had.shape, dtype=bool) if known is None else known
    parts = tuple(BinaryOutcome(had[:, at], known[:, at]) for at in range(len(names)))
    return ResponseOutcome(names, parts)


def binary(had, known=None):
    known = np.ones(len(had), dtype=bool) if known is None else known
    return ResponseOutcome(("grade_3_toxicity",), (BinaryOutcome(had, known),))


def fit(how, X, strata, outcome):
    return how.cross_fit(X, strata, outcome).model


def answered(model, X, strata):
    return model.predict(X, strata, NOW)[:, :, 0]


@pytest.fixture(scope="module")
def fitted():
    X, strata, _, had = made(1, patients=600, curved=True)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return X, strata, QUICK.cross_fit(X, strata, outcomes(had))


@pytest.fixture(scope="module")
def model(fitted):
    assert fitted[2].model.trees is not None
    return fitted[2].model


# The model


def test_broader_outcomes_are_more_probable_and_none_is_certain(model):
    rng = np.random.default_rng(2)
    anyone = rng.normal(size=(500, 3)) * 1000.0
    anyone[rng.random(anyone.shape) < 0.2] = np.nan
    p = answered(model, anyone, rng.integers(0, 2, 500))
    assert (np.diff(p, axis=1) >= 0.0).all()
    assert ((p > 0.0) & (p < 1.0)).all()


def test_files_give_back_the_same_model(fitted, model):
    X, strata, _ = fitted
    again = CrossFittedResponse.read(model.files())
    assert isinstance(again, AdditiveModel)
    assert again.outcomes == NESTED
    assert again.files() == model.files()
    assert set(model.files()) == {"model.json", "trees.npz", "booster-0.json"}
    np.testing.assert_array_equal(again.scores(X, strata), model.tabulated().scores(X, strata))


def test_a_missing_value_stands_at_the_disease_s_mean(model):
    plain = replace(model, trees=None)
    strata = np.array([0, 1])
    missing = plain.scores(np.full((2, 3), np.nan), strata)
    np.testing.assert_allclose(missing, plain.scores(plain.means[strata], strata))


# The fit


def test_the_model_is_the_mean_of_its_members(fitted):
    X, strata, found = fitted
    members = np.mean([m.scores(X, strata) for m in found.members], axis=0)
    np.testing.assert_allclose(found.model.scores(X, strata), members, atol=1e-5)
    assert found.fold_share == pytest.approx(1 / 3)
    assert len(found.members) == 3


def test_held_out_scores_are_the_members_that_never_saw_the_patient(fitted):
    X, strata, found = fitted
    by_member = np.stack([m.scores(X, strata) for m in found.members])
    missed = np.abs(by_member - found.held_out.scores).max(axis=2)
    assert (missed.min(axis=0) < 1e-5).all()
    assert np.bincount(missed.argmin(axis=0), minlength=3).min() > len(X) / 4
    rows = np.array([8, 3])
    expected = [
        found.members[missed[:, row].argmin()].predict(X[[row]], strata[[row]], NOW)[0] for row in rows
    ]
    np.testing.assert_allclose(found.held_out.probabilities(rows, NOW), expected, atol=1e-5)


def test_held_out_scores_know_nothing_of_their_own_outcome():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(300, 40))
    event = rng.random(300) < 1.0 / (1.0 + np.exp(-1.5 * noise[:, 0]))
    nowhere = np.zeros(300, dtype=np.int64)
    found = replace(QUICK, penalties=(1.0,)).cross_fit(noise, nowhere, binary(event))

    def gap(scores):
        return float(scores[event].mean() - scores[~event].mean())

    assert gap(found.model.scores(noise, nowhere)) > gap(found.held_out.scores) + 0.1


def test_where_the_effect_is_linear_the_truth_is_recovered_and_calibrated():
    X, strata, _, had = made(5, patients=1500)
    model = fit(QUICK, X, strata, outcomes(had))
    fresh, disease, truth, new = made(6, patients=20_000)
    p = answered(model, fresh, disease)
    assert np.abs(p - truth).mean() < 0.03
    odds = np.log(p) - np.log1p(-p)
    for at in range(3):
        assert slope(odds[:, at], new[:, at]) == pytest.approx(1.0, abs=0.15)


def slope(odds, event):
    """Return the calibration slope, by Newton's method on intercept and slope."""
    line, at = np.column_stack([np.ones(len(odds)), odds]), np.array([0.0, 1.0])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-line @ at))
        at = at + np.linalg.solve((line.T * (p * (1.0 - p))) @ line, line.T @ (event - p))
    return at[1]


def test_where_the_effect_is_curved_trees_recover_it():
    X, strata, truth, had = made(7, patients=1500, curved=True)
    model = fit(QUICK, X, strata, outcomes(had))
    without = replace(QUICK, boosting=replace(QUICK.boosting, rounds=1, learning_rate=1e-6))
    linear = fit(without, X, strata, outcomes(had))
    errors = [np.abs(answered(m, X, strata) - truth).mean() for m in (model, linear)]
    assert errors[0] < 0.6 * errors[1]


def test_one_outcome_alone_has_one_score():
    X, strata, truth, had = made(9, patients=800)
    model = fit(QUICK, X, strata, binary(had[:, 2]))
    assert model.outcomes == ("grade_3_toxicity",)
    assert not model.timed
    assert model.predict(X, strata, NOW).shape == (800, 1, 1)
    assert np.abs(answered(model, X, strata)[:, 0] - truth[:, 2]).mean() < 0.03


def test_patients_whose_outcome_is_unknown_teach_nothing_and_are_answered():
    X, strata, _, had = made(9, patients=300)
    known = np.arange(300) % 3 > 0
    event = had[:, 2]
    found = QUICK.cross_fit(X, strata, binary(event, known))
    turned = QUICK.cross_fit(X, strata, binary(event ^ ~known, known))
    assert found.model.files() == turned.model.files()
    assert np.isfinite(found.held_out.scores).all()


def test_what_one_outcome_implies_of_another_is_known():
    X, strata, _, had = made(10, patients=300)
    known = np.ones(had.shape, dtype=bool)
    known[had[:, 0], 1:] = False
    known[~had[:, 2], :2] = False
    assert fit(QUICK, X, strata, outcomes(had, known)).files() == fit(QUICK, X, strata, outcomes(had)).files()


def test_the_same_data_give_the_same_model_and_another_seed_another():
    X, strata, _, had = made(11, patients=200)
    first = fit(QUICK, X, strata, outcomes(had)).files()
    assert fit(QUICK, X, strata, outcomes(had)).files() == first
    assert fit(replace(QUICK, seed=5), X, strata, outcomes(had)).files() != first


def test_sixty_patients_are_enough():
    X, _, _, had = made(12, patients=60)
    model = fit(CrossFittedResponse(repeats=1), X, np.zeros(60, dtype=np.int64), binary(had[:, 1]))
    p = answered(model, X, np.zeros(60, dtype=np.int64))
    assert p.mean() == pytest.approx(had[:, 1].mean(), abs=0.05)
    assert model.hyperparameters["weight_ridge"] >= 0.4


# What a fit borrows, and what it refuses


def test_a_disease_without_events_borrows_from_the_others():
    X, strata, _, had = made(13, patients=400)
    event = had[:, 2] & (strata == 0)
    few = (strata == 1) & (np.arange(400) % 10 > 0)
    model = fit(QUICK, X[~few], strata[~few], binary(event[~few]))
    p = answered(model, X, strata)[:, 0]
    assert 0.01 < p[strata == 1].mean() < 0.5 * p[strata == 0].mean()


def test_an_outcome_without_events_is_not_fittable_by_name():
    X, strata, _, had = made(14, patients=100)
    none = np.zeros(100, dtype=bool)
    with pytest.raises(NotFittable, match="grade_3_toxicity: 0 patients have it and 100 do not"):
        fit(QUICK, X, strata, binary(none))
    with pytest.raises(NotFittable, match="grade_3_toxicity: 100 patients have it and 0 do not"):
        fit(QUICK, X, strata, binary(~none))
    had[:, 0] = False
    with pytest.raises(NotFittable, match=r"complete_response: 0 patients .* of those with overall_response"):
        fit(QUICK, X, strata, outcomes(had))


def test_infinite_values_and_contradictory_outcomes_are_refused():
    X, strata, _, had = made(15, patients=100)
    infinite = X.copy()
    infinite[[3, 7], 1] = np.inf
    with pytest.raises(InvalidInput, match=r"is infinite \(2 rows, e.g. 4, 8\)"):
        fit(QUICK, infinite, strata, outcomes(had))
    with pytest.raises(InvalidInput, match="is had without a broader one"):
        fit(QUICK, X, strata, outcomes(had[:, ::-1]))


def test_constant_and_empty_columns_change_nothing_that_a_patient_would_notice():
    X, strata, _, had = made(16, patients=300)
    padded = np.column_stack([X, np.full(300, 3.0), np.full(300, np.nan)])
    plain = answered(fit(QUICK, X, strata, outcomes(had)), X, strata)
    assert np.abs(answered(fit(QUICK, padded, strata, outcomes(had)), padded, strata) - plain).max() < 0.05


def compared(patients):
    rng = np.random.default_rng(17)
    true = rng.normal(size=(patients, 1)) * 1.5
    event = (rng.random((patients, 1)) < 1.0 / (1.0 + np.exp(-true)))[:, 0].astype(np.float64)
    rows = SlotRows(1, np.arange(patients), np.zeros(patients, dtype=np.int64), np.ones(patients), event)
    return true, rows


def test_recalibration_follows_many_patients_and_leaves_few_alone():
    for patients, moved in ((5000, 0.9), (30, 0.5)):
        true, rows = compared(patients)
        shift, stretch = _recalibration(2.0 * true - 1.0, rows)
        corrected = shift + stretch * (2.0 * true - 1.0)
        share = 1.0 - np.abs(corrected - true).mean() / np.abs(true - 1.0).mean()
        assert (share > moved) == (patients == 5000)
