"""Explanations: they add up, start at the cohort mean, follow the integral, agree with Shapley values."""

from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import spearmanr

from features.errors import NotExplained
from models.estimators.interface import EndpointModel, probabilities
from models.estimators.links import links, on_both_scales
from models.explanation.attribution import EndpointExplainer
from models.explanation.background import Background, fit_background
from tests.models.endpoint_doubles import (
    EDGES,
    Additive,
    ResponseDouble,
    competing_double,
    hazard_double,
    mixture_double,
    patients,
    response_double,
)

COLUMNS = 6
TIMES = np.array([6.0, 12.0, 30.0, 48.0])
DOUBLES = {
    "hazard": hazard_double(COLUMNS, seed=6),
    "mixture": mixture_double(COLUMNS, seed=1),
    "competing": competing_double(COLUMNS, seed=2),
    "response": response_double(COLUMNS, seed=3),
}


def owners(predictors: int = COLUMNS) -> np.ndarray:
    """Every column its own predictor, the disease behind them without a column."""
    return np.eye(predictors, predictors + 1)


def explainer(model: EndpointModel, background: Background, **changed) -> EndpointExplainer:
    given = {"owners": owners(), "disease": COLUMNS, "groups": ("a", "a", "b", "b", "b", "c", "disease")}
    return EndpointExplainer(model, background, **given | changed)


def even(X, strata) -> Background:
    return Background(X, strata, np.full(len(X), 1.0 / len(X)))


@pytest.fixture(scope="module")
def cohort():
    return patients(300, COLUMNS, seed=4)


@pytest.fixture(params=DOUBLES)
def model(request):
    return DOUBLES[request.param]


@pytest.fixture
def explained(model, cohort):
    X, strata = cohort
    ready = explainer(model, fit_background(model, X, strata, TIMES, size=40))
    return ready.explain(X[:25], strata[:25], TIMES)


def test_contributions_lead_from_the_cohorts_mean_to_the_prediction(explained, model, cohort):
    X, strata = cohort
    everyone = on_both_scales(model, model.scores(X, strata, TIMES), TIMES, links(model))
    np.testing.assert_allclose(explained.reference, everyone.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(explained.prediction, everyone[:25], atol=1e-9)
    total = explained.reference + explained.contributions.sum(axis=-1)
    np.testing.assert_allclose(total, everyone[:25], atol=1e-6)


def test_on_the_probability_the_prediction_is_the_models_own(explained, model, cohort):
    X, strata = cohort
    np.testing.assert_allclose(
        explained.prediction[:, 0], probabilities(model, X[:25], strata[:25], TIMES), atol=1e-12
    )


def test_a_groups_contribution_is_that_of_the_group_as_one_predictor(model, cohort):
    X, strata = cohort
    background = even(X[100:130], strata[100:130])
    apart = explainer(model, background).explain(X[:5], strata[:5], TIMES)
    merged = np.zeros((COLUMNS, 4))
    merged[[0, 1], 0] = merged[[2, 3, 4], 1] = merged[5, 2] = 1.0
    joined = explainer(model, background, owners=merged, disease=3, groups=("a", "b", "c", "disease"))
    together = joined.explain(X[:5], strata[:5], TIMES)
    assert apart.groups == ("a", "b", "c", "disease")
    np.testing.assert_allclose(apart.grouped, together.contributions, atol=1e-10)
    np.testing.assert_allclose(apart.grouped.sum(axis=-1), apart.contributions.sum(axis=-1), atol=1e-10)


@pytest.mark.parametrize("name", DOUBLES)
def test_each_contribution_is_the_integral_of_its_slope(name, cohort):
    """An adaptive quadrature of one predictor's shares times the model's slopes, line by line."""
    model, (X, strata) = DOUBLES[name], cohort
    times, predictor, outcome = TIMES[[1]], 2, 0
    found = explainer(model, even(X[:3], strata[:3])).explain(X[3:4], strata[3:4], times)
    parts = model.parts(X[:4], strata[:4], times)
    scores, shares = parts.total(), parts.by_predictor(owners(), disease=COLUMNS)[:, :, predictor]

    def slope(at, start):
        along = scores[start] + at * (scores[3] - scores[start])
        return float(model.slopes(along[None], times)[0, outcome, 0] @ (shares[3] - shares[start]))

    expected = np.mean([quad(slope, 0.0, 1.0, args=(start,), epsabs=1e-11)[0] for start in range(3)])
    assert found.contributions[0, 0, outcome, 0, predictor] == pytest.approx(expected, abs=1e-8)


def test_a_proportional_model_is_explained_by_its_own_terms_on_the_log_hazard(cohort):
    X, strata = cohort
    cox = replace(DOUBLES["mixture"], strata=DOUBLES["mixture"].strata.copy())
    cox.strata[:, -1] = 1.0
    background = fit_background(cox, X, strata, TIMES, size=40)
    found = explainer(cox, background).explain(X[:10], strata[:10], TIMES)
    shares = cox.parts(X[:10], strata[:10], TIMES).by_predictor(owners(), disease=COLUMNS)[:, 0]
    behind = cox.parts(background.X, background.strata, TIMES).by_predictor(owners(), disease=COLUMNS)[:, 0]
    expected = shares - background.weights @ behind
    for time in range(len(TIMES)):
        np.testing.assert_allclose(found.contributions[:, 1, 0, time], expected, atol=1e-6)


def test_log_odds_of_one_score_are_explained_by_their_own_terms(cohort):
    X, strata = cohort
    model = DOUBLES["response"]
    background = even(X[:30], strata[:30])
    found = explainer(model, background).explain(X[30:40], strata[30:40], TIMES)
    shares = model.parts(X[:40], strata[:40], TIMES).by_predictor(owners(), disease=COLUMNS)[:, 0]
    _, on_log_odds = (
        found.contributions[:, scale, model.outcomes.index("overall_response"), 0] for scale in (0, 1)
    )
    np.testing.assert_allclose(on_log_odds, shares[30:] - shares[:30].mean(axis=0), atol=1e-6)


def test_explained_against_themself_nobody_owes_anything(model, cohort):
    X, strata = cohort
    alone = explainer(model, even(X[:1], strata[:1]))
    assert np.abs(alone.explain(X[:1], strata[:1], TIMES).contributions).max() < 1e-12
    assert np.abs(alone.explain(X[1:2], strata[1:2], TIMES).contributions).max() > 1e-3


def test_a_value_that_all_background_patients_share_contributes_nothing(model, cohort):
    X, strata = cohort
    behind = X[10:30].copy()
    behind[:, 2] = X[0, 2]
    found = explainer(model, even(behind, strata[10:30])).explain(X[:1], strata[:1], TIMES)
    assert np.abs(found.contributions[..., 2]).max() < 1e-12
    assert np.abs(found.contributions[..., 3]).max() > 1e-4


def test_what_depends_on_the_disease_alone_is_the_diseases(model, cohort):
    X, _ = cohort
    same = np.repeat(X[:1], 2, axis=0)
    found = explainer(model, even(same[:1], np.array([0]))).explain(same[1:], np.array([1]), TIMES)
    assert np.abs(found.contributions[..., :COLUMNS]).max() < 1e-12
    assert np.abs(found.contributions[..., COLUMNS]).min() > 1e-3


def test_a_predictor_that_acts_late_contributes_late(cohort):
    X, strata = cohort
    double = DOUBLES["mixture"]
    late = replace(double, steepness=double.steepness.copy(), missing=double.missing.copy())
    for by_score in (late.steepness, late.missing):
        by_score[0, 0] = 0.0
        by_score[1 : 1 + np.searchsorted(EDGES, 12.0) + 1, 0] = 0.0
    found = explainer(late, even(X[:20], strata[:20])).explain(X[20:30], strata[20:30], TIMES)
    assert np.abs(found.contributions[:, :, 0, :2, 0]).max() == 0.0
    assert np.abs(found.contributions[:, :, 0, 3, 0]).min() > 1e-5


def test_the_background_is_scored_once_for_the_same_times(cohort, monkeypatch):
    X, strata = cohort
    model, asked = competing_double(COLUMNS, seed=9), []
    original = Additive.parts

    def counted(self, X, strata, times):
        asked.append(len(X))
        return original(self, X, strata, times)

    ready = explainer(model, even(X[:50], strata[:50]))
    monkeypatch.setattr(Additive, "parts", counted)
    for row in (60, 61, 62):
        ready.explain(X[[row]], strata[[row]], TIMES[:1])
    assert sorted(asked) == [1, 1, 1, 50]


@pytest.mark.parametrize("steep", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("make", [hazard_double, mixture_double])
def test_steep_models_still_add_up(cohort, make, steep):
    X, strata = cohort
    model = make(COLUMNS, seed=5, steep=steep)
    found = explainer(model, even(X[:10], strata[:10])).explain(X[10:20], strata[10:20], TIMES)
    assert np.abs(found.reference + found.contributions.sum(axis=-1) - found.prediction).max() < 1e-6


@dataclass(frozen=True)
class WrongSlopes(ResponseDouble):
    factor: float = 1.001

    def slopes(self, scores, times):
        return super().slopes(scores, times) * self.factor


@pytest.mark.parametrize("factor", [1.001, np.nan, np.inf])
def test_contributions_that_miss_the_prediction_are_refused_by_name(cohort, factor):
    X, strata = cohort
    double = DOUBLES["response"]
    wrong = WrongSlopes(double.steepness, double.missing, double.strata, factor)
    with np.errstate(invalid="ignore"), pytest.raises(NotExplained, match="complete_response"):
        explainer(wrong, even(X[:5], strata[:5])).explain(X[5:9], strata[5:9], TIMES)


def test_absurd_scores_are_refused_and_not_shown(cohort):
    X, strata = cohort
    model = mixture_double(COLUMNS, seed=5, steep=1e5)
    with np.errstate(all="ignore"), pytest.raises(NotExplained, match="survival"):
        explainer(model, even(X[:10], strata[:10])).explain(X[10:20], strata[10:20], TIMES)


def brute_force(value, players: int) -> np.ndarray:
    """Shapley's formula over all coalitions; ``value`` takes a 0/1 array of members."""
    worth = {}
    for size in range(players + 1):
        for members in combinations(range(players), size):
            worth[members] = value(np.isin(np.arange(players), members))
    shapley = []
    for player in range(players):
        others = [p for p in range(players) if p != player]
        total = 0.0
        for size in range(players):
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            for members in combinations(others, size):
                joined = tuple(sorted((*members, player)))
                total = total + share * (worth[joined] - worth[members])
        shapley.append(total)
    return np.stack(shapley, axis=-1)


def interventional(model, background: Background, x, stratum, times):
    """Return the value function: the mean answer when members come from the patient, the rest from others."""

    def value(members):
        X = np.where(members[:COLUMNS], x, background.X)
        strata = np.where(members[COLUMNS], stratum, background.strata)
        answers = on_both_scales(model, model.scores(X, strata, times), times, links(model))
        return np.tensordot(background.weights, answers, axes=1)

    return value


APART = {"hazard": (0.06, 0.01), "mixture": (0.04, 0.01), "competing": (0.06, 0.05), "response": (0.09, 0.02)}


@pytest.mark.parametrize("name", DOUBLES)
def test_close_to_brute_force_shapley_values_of_the_same_value_function(name, cohort, record_property):
    """Aumann-Shapley and Shapley values differ where the answer bends.

    By how much: the mean absolute difference over a contribution's mean size, on either scale.
    """
    (X, strata), model = cohort, DOUBLES[name]
    background = fit_background(model, X, strata, TIMES, size=24)
    found = explainer(model, background).explain(X[:8], strata[:8], TIMES).contributions
    exact = np.stack(
        [
            brute_force(interventional(model, background, X[row], strata[row], TIMES), COLUMNS + 1)
            for row in range(8)
        ]
    )
    np.testing.assert_allclose(exact.sum(axis=-1), found.sum(axis=-1), atol=1e-6)
    for scale, most in enumerate(APART[name]):
        correlation = float(spearmanr(exact[:, scale].ravel(), found[:, scale].ravel()).statistic)
        apart = float(np.abs(exact[:, scale] - found[:, scale]).mean() / np.abs(exact[:, scale]).mean())
        record_property(f"scale {scale}: rank correlation", correlation)
        record_property(f"scale {scale}: mean absolute difference over mean size", apart)
        assert correlation > 0.99
        assert apart < most


def test_both_are_the_same_where_the_answer_is_a_sum(cohort):
    X, strata = cohort
    cox = replace(DOUBLES["mixture"], strata=DOUBLES["mixture"].strata.copy())
    cox.strata[:, -1] = 1.0
    background = even(X[:20], strata[:20])
    found = explainer(cox, background).explain(X[20:21], strata[20:21], TIMES).contributions
    exact = brute_force(interventional(cox, background, X[20], strata[20], TIMES), COLUMNS + 1)
    np.testing.assert_allclose(found[0, 1], exact[1], atol=1e-6)
