"""Explanations: they add up, start where they say, and agree with Shapley values sampled independently."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from models.bundle import LOG_HAZARD, SURVIVAL
from models.explanation import Explainer

HORIZONS = (12.0, 24.0, 36.0, 60.0)


def explainer(bundle, horizon, *, X=None, strata=None, owners=None):
    """Prepare an explainer, against the bundle's own background unless another is given."""
    return Explainer.prepare(
        bundle.mixture,
        horizon=horizon,
        owners=bundle.encoder.owners() if owners is None else owners,
        disease=bundle.dictionary.names.index("disease"),
        X=bundle.background if X is None else X,
        strata=bundle.background_strata if strata is None else strata,
    )


def with_weight(bundle, *weight):
    return replace(bundle, mixture=replace(bundle.mixture, cox_weight=np.array(weight)))


@pytest.fixture(scope="module")
def half_boosted(bundle):
    """The bundle with a mixture in which both members count, each disease in its own measure."""
    return with_weight(bundle, 0.3, 0.6)


@pytest.fixture(params=["bundle", "half_boosted"])
def explained(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_both_scales_add_up_to_the_prediction(explained, cohort, horizon):
    X, strata = explained.encoder.encode(cohort), explained.strata(cohort)
    survival = explained.mixture.survival(X, strata, np.array([horizon]))[:, 0]
    for row in range(0, len(cohort), 5):
        on_survival, on_log_hazard = explained.explainers[horizon].explain(X[[row]], strata[[row]])
        assert on_survival.prediction == pytest.approx(survival[row], abs=1e-9)
        assert on_log_hazard.prediction == pytest.approx(np.log(-np.log(survival[row])), abs=1e-9)
        for scale in (on_survival, on_log_hazard):
            assert scale.reference + scale.contributions.sum() == pytest.approx(scale.prediction, abs=1e-9)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_reference_is_the_mean_prediction_of_the_background(explained, cohort, horizon):
    at = explained.mixture.survival(explained.background, explained.background_strata, np.array([horizon]))
    X, strata = explained.encoder.encode(cohort)[:1], explained.strata(cohort)[:1]
    on_survival, on_log_hazard = explained.explainers[horizon].explain(X, strata)
    assert on_survival.reference == pytest.approx(at.mean(), abs=1e-9)
    assert on_log_hazard.reference == pytest.approx(np.log(-np.log(at)).mean(), abs=1e-9)


def test_a_patient_explained_against_themself_owes_nothing_to_any_predictor(half_boosted, cohort):
    X, strata = half_boosted.encoder.encode(cohort), half_boosted.strata(cohort)
    for row in (0, 1, 2):
        alone = explainer(half_boosted, 24.0, X=X[[row]], strata=strata[[row]])
        for scale in alone.explain(X[[row]], strata[[row]]):
            np.testing.assert_allclose(scale.contributions, 0.0, atol=1e-12)
        other = row + 3
        assert any(abs(s.contributions).max() > 1e-3 for s in alone.explain(X[[other]], strata[[other]]))


def test_a_cox_model_alone_is_explained_by_its_own_terms_on_the_log_hazard_scale(bundle, cohort):
    cox_only = with_weight(bundle, 1.0, 1.0)
    X, strata = bundle.encoder.encode(cohort), bundle.strata(cohort)
    cox, owners = bundle.mixture.cox, bundle.encoder.owners()
    terms = cox.terms(X, strata) @ owners
    background = cox.terms(bundle.background, bundle.background_strata) @ owners
    base = cox.log_baseline(np.array([0, 1]), np.array([24.0]))[:, 0]
    disease = bundle.dictionary.names.index("disease")
    for row in range(20):
        expected = terms[row] - background.mean(axis=0)
        expected[disease] += base[strata[row]] - base[bundle.background_strata].mean()
        _, on_log_hazard = explainer(cox_only, 24.0).explain(X[[row]], strata[[row]])
        np.testing.assert_allclose(on_log_hazard.contributions, expected, atol=1e-9)


def test_a_predictor_equal_to_the_only_background_patients_contributes_nothing(bundle, cohort):
    cox_only = with_weight(bundle, 1.0, 1.0)
    X, strata = bundle.encoder.encode(cohort), bundle.strata(cohort)
    background = X[[0]].copy()
    changed = bundle.encoder.names.index("age")
    background[0, changed] += 10.0
    one = explainer(cox_only, 24.0, X=background, strata=strata[[0]])
    for scale in one.explain(X[[0]], strata[[0]]):
        others = np.delete(scale.contributions, bundle.dictionary.names.index("age"))
        assert (others == 0.0).all()
        assert scale.contributions.sum() == pytest.approx(scale.prediction - scale.reference, abs=1e-9)


def test_a_predictor_without_a_column_contributes_nothing(half_boosted, cohort):
    owners = half_boosted.encoder.owners()
    silenced = half_boosted.dictionary.names.index("sex")
    disease = half_boosted.dictionary.names.index("disease")
    owners[:, disease] += owners[:, silenced]
    owners[:, silenced] = 0.0
    X, strata = half_boosted.encoder.encode(cohort), half_boosted.strata(cohort)
    prepared = explainer(half_boosted, 24.0, owners=owners)
    for scale in prepared.explain(X[[0]], strata[[0]]):
        assert scale.contributions[silenced] == 0.0
        assert scale.reference + scale.contributions.sum() == pytest.approx(scale.prediction, abs=1e-9)


def test_the_strongest_reason_raises_one_scale_and_lowers_the_other(bundle, cohort):
    for row in range(0, 60, 3):
        scales = bundle.predict(cohort.take(np.array([row]))).explanation.scales
        by_name = {s.scale: np.array([c.contribution for c in s.contributions]) for s in scales}
        strongest = int(np.argmax(np.abs(by_name[LOG_HAZARD])))
        assert by_name[SURVIVAL][strongest] * by_name[LOG_HAZARD][strongest] < 0


def sampled_shapley(bundle, rows, strata, *, horizon, permutations, seed):
    """Estimate interventional Shapley values of survival by random orders of predictors.

    Predictors switch one after the other from each background patient's value to the patient's, in an order
    and in its reverse; disease switches its column and the stratum. Nothing here reads the explainer.
    """
    rng = np.random.default_rng(seed)
    players = bundle.dictionary.names
    columns = [[at for at, c in enumerate(bundle.encoder.columns) if c.predictor == name] for name in players]
    values = np.zeros((len(rows), len(players)))
    background, old = bundle.background, bundle.background_strata
    for at, (row, stratum) in enumerate(zip(rows, strata, strict=True)):
        for _ in range(permutations):
            drawn = rng.permutation(len(players))
            for order in (drawn, drawn[::-1]):
                mixed, where = background.copy(), old.copy()
                states, which = [mixed.copy()], [where.copy()]
                for player in order:
                    mixed[:, columns[player]] = row[columns[player]]
                    if players[player] == "disease":
                        where[:] = stratum
                    states.append(mixed.copy())
                    which.append(where.copy())
                stacked = bundle.mixture.survival(np.vstack(states), np.concatenate(which), horizon)
                mean = stacked.reshape(len(states), len(background)).mean(axis=1)
                values[at, order] += np.diff(mean)
    return values / (2 * permutations)


def test_contributions_agree_with_sampled_shapley_values(explained, cohort, record_property):
    X, strata = explained.encoder.encode(cohort), explained.strata(cohort)
    chosen = np.arange(0, 400, 27)
    assert len(chosen) == 15
    assert set(strata[chosen]) == {0, 1}
    sampled = sampled_shapley(
        explained, X[chosen], strata[chosen], horizon=np.array([24.0]), permutations=4, seed=5
    )
    ours = np.array(
        [explained.explainers[24.0].explain(X[[r]], strata[[r]])[0].contributions for r in chosen]
    )
    np.testing.assert_allclose(sampled.sum(axis=1), ours.sum(axis=1), atol=1e-9)
    correlation = float(spearmanr(sampled.ravel(), ours.ravel()).statistic)
    difference = float(np.abs(sampled - ours).mean())
    strongest = np.mean(np.abs(sampled).argmax(axis=1) == np.abs(ours).argmax(axis=1))
    record_property("rank_correlation", correlation)
    record_property("mean_absolute_difference", difference)
    print(f"rank correlation {correlation:.4f}, mean absolute difference {difference:.5f}")  # noqa: T201
    print(f"same strongest {strongest:.2f}, mean size {np.abs(sampled).mean():.5f}")  # noqa: T201
    assert correlation > 0.8
    assert difference < 0.2 * np.abs(sampled).mean()
