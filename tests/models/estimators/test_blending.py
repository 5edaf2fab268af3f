"""Blending: centred columns, held-out scores by hand, weights that follow the evidence, one model of many."""

import numpy as np
import pytest

from features.censoring import Outcome
from models.estimators.blending import (
    Columns,
    HeldOutScores,
    Member,
    blend,
    held_out_scores,
    shown_share,
    weigh,
)
from models.estimators.slots import SlotRows, interval_edges, person_intervals
from models.estimators.transforms import IntervalHazards, probabilities
from tests.models.endpoint_doubles import EDGES, grown, patients

COLUMNS, SLOTS = 3, len(EDGES)
PRIOR = np.array([0.25, 0.6, 0.15])


def member(seed, *, trees=True):
    rng = np.random.default_rng(seed)
    started, free = (grown(COLUMNS, SLOTS, seed=seed + at) if trees else None for at in (0, 100))
    return Member(
        base=rng.normal(-2.0, 0.3, (2, SLOTS)),
        coefficients=rng.normal(0.0, 0.3, (2, 1, COLUMNS)),
        started=started,
        free_base=rng.normal(-2.0, 0.3, (2, SLOTS)),
        free=free,
    )


@pytest.fixture(scope="module")
def columns():
    return Columns.of(*patients(60, COLUMNS, seed=1))


def test_columns_are_centred_in_their_disease_with_gaps_at_its_mean(columns):
    for stratum in (0, 1):
        own = columns.strata == stratum
        np.testing.assert_allclose(columns.means[stratum], np.nanmean(columns.X[own], axis=0))
        np.testing.assert_allclose(columns.centred[own].mean(axis=0), 0.0, atol=1e-12)
    gaps = np.isnan(columns.X)
    assert gaps.any()
    assert (columns.centred[gaps] == 0.0).all()
    np.testing.assert_allclose(columns.centred[~gaps], (columns.X - columns.means[columns.strata])[~gaps])


def test_a_column_never_observed_in_a_disease_is_centred_at_the_mean_of_all():
    X, strata = patients(60, COLUMNS, seed=1)
    X[strata == 1, 0] = np.nan
    X[:, 2] = np.nan
    found = Columns.of(X, strata)
    assert found.means[1, 0] == pytest.approx(np.nanmean(X[:, 0]))
    assert found.means[:, 2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("trees", [True, False])
def test_a_member_has_three_scores(columns, trees):
    one, rows = member(3, trees=trees), np.arange(60) % 4 == 1
    strata = columns.strata[rows]
    ridge, started, free = one.scores(columns, rows)
    linear = (columns.centred[rows] * one.coefficients[strata, 0]).sum(axis=1)
    np.testing.assert_allclose(ridge, one.base[strata] + linear[:, None])
    of_trees = [m.margins(columns.X[rows]) if m else 0.0 for m in (one.started, one.free)]
    np.testing.assert_allclose(started, ridge + of_trees[0])
    np.testing.assert_allclose(free, one.free_base[strata] + of_trees[1])


def test_held_out_scores_are_means_over_members_that_never_saw_the_patient(columns):
    """Two repeats of three folds: each patient has two such members."""
    folds = [np.arange(60) % 3, np.arange(60) // 20]
    held = [fold == out for fold in folds for out in range(3)]
    members = [member(seed) for seed in range(6)]
    found = held_out_scores(members, held, columns)
    everyone = np.stack([one.scores(columns, np.ones(60, dtype=bool)) for one in members])
    for patient in range(60):
        first, second = (fold[patient] for fold in folds)
        expected = (everyone[first, :, patient] + everyone[3 + second, :, patient]) / 2.0
        np.testing.assert_allclose(found[:, patient], expected, atol=1e-6)


def test_held_out_probabilities_follow_from_the_scores_of_the_patients_asked_for():
    scores = np.random.default_rng(2).normal(-2.0, 1.0, (30, SLOTS))
    rows, times = np.array([7, 3, 22]), np.array([5.0, 50.0])
    found = HeldOutScores(IntervalHazards(EDGES), scores).probabilities(rows, times)
    np.testing.assert_array_equal(found, probabilities(IntervalHazards(EDGES), scores, times)[rows])


# Weights


def person_margins(patients):
    """Return person-intervals, margins that are true and margins that are the same for everyone."""
    rng = np.random.default_rng(8)
    hazard = rng.lognormal(-3.5, 0.8, patients)
    outcome = Outcome(rng.exponential(1.0 / hazard), np.ones(patients, dtype=bool))
    edges = interval_edges(outcome, count=20)
    widths = np.diff(np.append(0.0, edges))
    chance = np.minimum(-np.expm1(-np.outer(hazard, widths)), 1.0 - 1e-9)
    true = np.log(chance) - np.log1p(-chance)
    return person_intervals(outcome, edges), true, np.full_like(true, true.mean())


def single_margins(patients):
    """Return the same of one outcome without time."""
    rng = np.random.default_rng(17)
    true = rng.normal(size=(patients, 1)) * 1.5
    event = (rng.random((patients, 1)) < 1.0 / (1.0 + np.exp(-true)))[:, 0].astype(np.float64)
    rows = SlotRows(1, np.arange(patients), np.zeros(patients, dtype=np.int64), np.ones(patients), event)
    return rows, true, np.zeros_like(true)


def test_kinds_that_cannot_be_told_apart_keep_their_usual_weights():
    rows, true, _ = person_margins(200)
    weights = weigh(np.stack([true, true, true]), rows, prior=PRIOR, firmness=15.0)
    np.testing.assert_allclose(weights, PRIOR, atol=0.051)


@pytest.mark.parametrize("best", [0, 1, 2])
@pytest.mark.parametrize("margins", [person_margins, single_margins])
def test_a_kind_that_is_much_better_takes_nearly_all(margins, best):
    rows, true, blunt = margins(3000)
    kinds = [blunt, blunt, blunt]
    kinds[best] = true
    weights = weigh(np.stack(kinds), rows, prior=PRIOR, firmness=15.0)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[best] >= 0.8


def test_the_firmer_the_prior_the_nearer_to_it_are_the_weights():
    rows, true, blunt = person_margins(500)
    firm, loose = (
        weigh(np.stack([true, blunt, blunt]), rows, prior=PRIOR, firmness=firmness)
        for firmness in (1e6, 1e-3)
    )
    np.testing.assert_allclose(firm, PRIOR, atol=0.051)
    assert loose[0] > 0.8


@pytest.mark.parametrize(
    ("errors", "expected"),
    [(-5.0, 0.0), (0.0, 0.0), (1.7, 0.0), (1.75, 0.0), (2.0, 0.413818), (3.5, 0.9375), (17.5, 0.9999)],
)
def test_a_gain_counts_as_far_as_chance_does_not_explain_it(errors, expected):
    """A hundred patients whose gains have this mean in standard errors."""
    spread = np.where(np.arange(100) % 2, 1.0, -1.0)
    assert shown_share(spread + errors / 10.0) == pytest.approx(expected, abs=1e-6)


def test_no_gain_at_all_counts_nothing():
    assert shown_share(np.zeros(10)) == 0.0
    assert shown_share(np.full(10, 0.1)) == 1.0


# The blend


def blended(members, weights, columns, scales=None):
    return blend(
        members, weights, columns, outcomes=("survival",), transform=IntervalHazards(EDGES), penalty=7.0,
        chosen={"cox_penalty": 7.0}, scales=scales,
    )  # fmt: skip


@pytest.mark.parametrize("weights", [PRIOR, np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.0, 0.8])])
def test_a_blend_scores_the_weighted_mean_of_all_members(columns, weights):
    members, everyone = [member(seed) for seed in range(3)], np.ones(60, dtype=bool)
    model = blended(members, weights, columns)
    each = np.mean([one.scores(columns, everyone) for one in members], axis=0)
    expected = np.tensordot(weights, each, axes=1)
    np.testing.assert_allclose(model.scores(columns.X, columns.strata), expected, atol=1e-5)
    assert (model.trees is None) == (weights[0] == 1.0)
    model.tabulated().check(columns=COLUMNS, strata=2)


def test_a_blend_names_its_weights_and_undoes_the_columns_scales(columns):
    model = blended([member(1), member(2)], PRIOR, columns)
    assert dict(model.hyperparameters) == {
        "cox_penalty": 7.0, "weight_ridge": 0.25, "weight_started": 0.6, "weight_free": 0.15, "models": 2.0,
    }  # fmt: skip
    assert model.penalties.tolist() == [7.0]
    scaled = blended([member(1), member(2)], PRIOR, columns, scales=np.array([1.0, 4.0, np.inf]))
    np.testing.assert_allclose(scaled.coefficients, model.coefficients / [1.0, 4.0, np.inf])
