"""Exact explanations: they add up from the disease's mean, are integrals, and agree with Shapley values."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.stats import spearmanr

from features.errors import NotExplained
from models.estimators.additive import AdditiveModel
from models.estimators.links import LINKS, on_both_scales
from models.estimators.transforms import NestedOdds, probabilities
from models.explanation.attribution import (
    EXACT,
    MOST_PREPARED,
    ExactExplainer,
    hand_on,
    spread_over_unknown,
)
from models.explanation.background import Background, fit_background
from models.patient.completion import Completions
from models.patient.draws import Told
from tests.lib.completions import complete_rows, drawn_rows
from tests.models.endpoint_doubles import (
    EDGES,
    competing_double,
    hazard_double,
    link_of,
    patients,
    response_double,
)
from tests.models.explanation.games import interventional, shapley_values

COLUMNS = 6
OWNER = np.arange(COLUMNS)
GROUP = np.array([0, 0, 1, 1, 1, 2, 3])  # of the columns' predictors and, at last, the disease
TIMES = np.array([6.0, 12.0, 30.0, 48.0])
BY_COLUMN = {
    "hazard": hazard_double(COLUMNS, seed=6),
    "competing": competing_double(COLUMNS, seed=2),
    "uneven": competing_double(COLUMNS, seed=8, uneven=True),
    "response": response_double(COLUMNS, seed=3),
    "linear": response_double(COLUMNS, seed=4, trees=False),
}
DOUBLES = BY_COLUMN | {"interacting": hazard_double(COLUMNS, seed=7, interacting=True)}


def explainer(model: AdditiveModel, background: Background, **changed) -> ExactExplainer:
    given = {"owner": OWNER, "predictors": COLUMNS + 1, "disease": COLUMNS}
    return ExactExplainer(model, link_of(model), background, **given | changed)


def even(X, strata) -> Background:
    return Background(X, strata, np.full(len(X), 1.0 / len(X)), np.full(2, 0.5))


def complete(X, predictors=COLUMNS + 1) -> Completions:
    return complete_rows(X, predictors)


def shares_of(model, X, strata):
    """Return each predictor's shares of the scores, (patients, scores, predictors), by plain numpy."""
    centred = np.nan_to_num(X - model.means[strata], nan=0.0)[:, None, :]
    columns = centred * model.coefficients[strata] + model.tree_contributions(X)
    disease = model.base[strata]
    return model.stretch[:, None] * np.concatenate([columns, disease[:, :, None]], axis=2)


@pytest.fixture(scope="module")
def cohort():
    """Patients of the second disease."""
    X, strata = patients(600, COLUMNS, seed=4)
    return X[strata == 1], strata[strata == 1]


@pytest.fixture(params=DOUBLES)
def model(request):
    return DOUBLES[request.param]


@pytest.fixture(params=BY_COLUMN)
def by_column(request):
    """A model whose scores are sums of functions of single columns."""
    return BY_COLUMN[request.param]


@pytest.fixture
def explained(model, cohort):
    X, strata = cohort
    ready = explainer(model, fit_background(model, link_of(model), complete(X), strata, TIMES, size=40))
    return ready.explain(complete(X[:25]), TIMES)


def test_contributions_lead_from_the_diseases_mean_to_the_prediction(explained, model, cohort):
    X, strata = cohort
    everyone = on_both_scales(model.predict(X, strata, TIMES), link_of(model))
    np.testing.assert_allclose(explained.reference, everyone.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(explained.prediction, everyone[:25], atol=1e-9)
    total = explained.reference + explained.contributions.sum(axis=-1)
    np.testing.assert_allclose(total, everyone[:25], atol=1e-6)
    assert explained.standard_error is None


def test_on_the_probability_the_prediction_is_the_models_own(explained, model, cohort):
    X, strata = cohort
    np.testing.assert_allclose(
        explained.prediction[:, 0], model.predict(X[:25], strata[:25], TIMES), atol=1e-12
    )
    np.testing.assert_allclose(explained.scores, model.scores(X[:25], strata[:25]), atol=1e-9)


def test_trees_that_are_not_tabulated_are_for_the_explanation(model, cohort):
    X, strata = cohort
    background = even(X[:10], strata[:10])
    plain = explainer(replace(model, tables=None), background)
    one, other = (ready.explain(complete(X[10:14]), TIMES) for ready in (explainer(model, background), plain))
    np.testing.assert_array_equal(one.contributions, other.contributions)


def test_a_groups_contribution_is_that_of_the_group_as_one_predictor(model, cohort):
    X, strata = cohort
    background = even(X[100:130], strata[100:130])
    apart = explainer(model, background).explain(complete(X[:5]), TIMES)
    joined = explainer(model, background, owner=GROUP[:COLUMNS], predictors=4, disease=3)
    together = joined.explain(complete(X[:5], 4), TIMES)
    grouped = apart.by_group(np.tile(GROUP, (5, 1)), 4)
    np.testing.assert_allclose(grouped, together.contributions, atol=1e-10)
    np.testing.assert_allclose(grouped.sum(axis=-1), apart.contributions.sum(axis=-1), atol=1e-10)


def test_each_patient_has_groups_of_their_own(model, cohort):
    """What is not known of a patient is a group, of other predictors from patient to patient."""
    X, strata = cohort
    found = explainer(model, even(X[10:30], strata[10:30])).explain(complete(X[:2]), TIMES)
    other = np.where(np.arange(COLUMNS + 1) == 2, 3, GROUP)
    grouped = found.by_group(np.stack([GROUP, other]), 4)
    for row, group in enumerate((GROUP, other)):
        expected = [found.contributions[row][..., group == at].sum(axis=-1) for at in range(4)]
        np.testing.assert_allclose(grouped[row], np.stack(expected, axis=-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DOUBLES)
def test_each_contribution_is_the_integral_of_its_slope(name, cohort):
    """An adaptive quadrature of one predictor's shares times numerical slopes, line by line."""
    model, (X, strata) = DOUBLES[name], cohort
    found = explainer(model, even(X[:3], strata[:3])).explain(complete(X[3:4]), TIMES)
    scores, shares = model.scores(X[:4], strata[:4]), shares_of(model, X[:4], strata[:4])

    def slope(at, start, predictor):
        along = scores[start] + at * (scores[3] - scores[start])
        aside = 1e-5 * (shares[3] - shares[start])[:, predictor]
        near = probabilities(model.transform, np.stack([along + aside, along - aside]), TIMES)
        above, under = on_both_scales(near, link_of(model))
        return ((above - under) / 2e-5).ravel()

    for predictor in (2, 4):
        lines = [
            quad_vec(slope, 0.0, 1.0, args=(start, predictor), epsabs=1e-9, limit=200)[0]
            for start in range(3)
        ]
        by_slope = found.contributions[0, ..., predictor].ravel()
        np.testing.assert_allclose(by_slope, np.mean(lines, axis=0), rtol=0, atol=2e-7)


def test_where_hazards_are_small_the_log_hazard_is_explained_by_the_scores_own_terms(cohort):
    """The log cumulative hazard is then the common linear term and a term of the time."""
    X, strata = cohort
    model = hazard_double(COLUMNS, seed=1)
    rare = replace(model, base=model.base - 7.0, trees=None, tables=None)
    background = fit_background(rare, link_of(rare), complete(X), strata, TIMES, size=40)
    found = explainer(rare, background).explain(complete(X[:10]), TIMES)
    own, behind = (
        shares_of(rare, *some)[:, 0, :COLUMNS] for some in ((X, strata), (background.X, background.strata))
    )
    expected = own[:10] - background.weights @ behind
    for time in range(len(TIMES)):
        np.testing.assert_allclose(
            found.contributions[:, 1, 0, time, :COLUMNS], expected, atol=2e-3 * np.abs(expected).max()
        )


def test_log_odds_of_one_score_are_explained_by_their_own_terms(cohort):
    X, strata = cohort
    model = DOUBLES["response"]
    found = explainer(model, even(X[:30], strata[:30])).explain(complete(X[30:40]), TIMES)
    broadest = model.outcomes.index("overall_response")
    own = shares_of(model, X[:40], strata[:40])[:, broadest]
    on_log_odds = found.contributions[:, 1, broadest, 0]
    np.testing.assert_allclose(on_log_odds, own[30:] - own[:30].mean(axis=0), atol=1e-6)


def test_explained_against_themself_nobody_owes_anything(model, cohort):
    X, strata = cohort
    alone = explainer(model, even(X[:1], strata[:1]))
    assert np.abs(alone.explain(complete(X[:1]), TIMES).contributions).max() < 1e-12
    assert np.abs(alone.explain(complete(X[1:2]), TIMES).contributions).max() > 1e-3


def test_a_value_that_all_background_patients_share_contributes_nothing(by_column, cohort):
    X, strata = cohort
    behind, disease = X[10:30].copy(), np.full(20, strata[0])
    behind[:, 2] = X[0, 2]
    found = explainer(by_column, even(behind, disease)).explain(complete(X[:1]), TIMES)
    assert np.abs(found.contributions[..., 2]).max() < 1e-12
    assert np.abs(found.contributions[..., COLUMNS]).max() < 1e-12
    assert np.abs(found.contributions[..., 3]).max() > 1e-4


def test_within_a_disease_the_disease_contributes_nothing(model, cohort):
    """Contributions start from the disease's own mean; what it says by itself is not among them."""
    X, strata = cohort
    found = explainer(model, even(X[10:40], strata[10:40])).explain(complete(X[:10]), TIMES)
    assert np.abs(found.contributions[..., COLUMNS]).max() < 1e-12
    assert np.abs(found.contributions[..., :COLUMNS]).max() > 1e-3


def test_a_patient_is_explained_in_the_disease_of_the_background(model, cohort):
    X, _ = cohort
    for disease in (0, 1):
        strata = np.full(len(X), disease)
        found = explainer(model, even(X[:20], strata[:20])).explain(complete(X[20:25]), TIMES)
        expected = model.predict(X[20:25], strata[20:25], TIMES)
        np.testing.assert_allclose(found.prediction[:, 0], expected, atol=1e-12)
        reference = model.predict(X[:20], strata[:20], TIMES).mean(axis=0)
        np.testing.assert_allclose(found.reference[0], reference, atol=1e-12)


def test_what_has_no_meaning_in_a_disease_belongs_to_the_disease(cohort):
    """Their columns are missing in every patient of it, so there they add nothing to anybody."""
    X, strata = cohort
    X = X.copy()
    X[:, [2, 5]] = np.nan
    model, owner = DOUBLES["competing"], np.array([0, 1, 6, 3, 4, 6])
    found = explainer(model, even(X[:20], strata[:20]), owner=owner).explain(complete(X[20:30]), TIMES)
    assert np.abs(found.contributions[..., [2, 5, 6]]).max() < 1e-12
    total = found.reference + found.contributions[..., [0, 1, 3, 4]].sum(axis=-1)
    np.testing.assert_allclose(total, found.prediction, atol=1e-6)


def test_a_predictor_that_acts_late_contributes_late(cohort):
    X, strata = cohort
    plain = replace(DOUBLES["hazard"], trees=None, tables=None)
    late = np.repeat(plain.coefficients, len(EDGES), axis=1)
    late[:, EDGES <= 16.0, 0] = 0.0
    acting = replace(plain, coefficients=late)
    found = explainer(acting, even(X[:20], strata[:20])).explain(complete(X[20:30]), TIMES)
    assert np.abs(found.contributions[:, :, 0, :2, 0]).max() == 0.0
    assert np.abs(found.contributions[:, :, 0, 3, 0]).min() > 1e-5


def test_predictors_add_what_their_columns_do_in_any_order(cohort):
    """Two columns of one predictor, one of the disease itself."""
    X, strata = cohort
    model, background = DOUBLES["competing"], even(X[:20], strata[:20])
    apart = explainer(model, background).explain(complete(X[20:24]), TIMES).contributions
    owner = np.array([1, 0, 2, 1, 0, 3])
    found = explainer(model, background, owner=owner, predictors=4, disease=3)
    together = found.explain(complete(X[20:24], 4), TIMES).contributions
    for predictor, columns in enumerate(([1, 4], [0, 3], [2], [5, 6])):
        np.testing.assert_allclose(together[..., predictor], apart[..., columns].sum(axis=-1), atol=1e-10)


def test_many_patients_are_explained_as_each_alone_bit_for_bit(model, cohort):
    X, strata = cohort
    ready = explainer(model, even(X[:20], strata[:20]))
    together = ready.explain(complete(X[20:50]), TIMES[:1])
    for row in range(30):
        alone = ready.explain(complete(X[[20 + row]]), TIMES[:1])
        np.testing.assert_array_equal(together.contributions[row], alone.contributions[0])
        np.testing.assert_array_equal(together.prediction[row], alone.prediction[0])


def test_the_background_is_scored_once_for_the_same_times(cohort, monkeypatch):
    X, strata = cohort
    model, asked = DOUBLES["competing"], []
    original = AdditiveModel.tree_contributions

    def counted(self, X, columns=None):
        asked.append(len(X))
        return original(self, X, columns)

    ready = explainer(model, even(X[:50], strata[:50]))
    monkeypatch.setattr(AdditiveModel, "tree_contributions", counted)
    for row in (60, 61, 62):
        ready.explain(complete(X[[row]]), TIMES[:1])
        ready.reference(TIMES[:1])
    assert sorted(asked) == [1, 1, 1, 50]


def test_however_many_times_are_asked_for_few_are_kept(cohort):
    X, strata = cohort
    ready = explainer(DOUBLES["linear"], even(X[:5], strata[:5]))
    first = ready.reference(np.array([0.0]))
    for month in range(3 * MOST_PREPARED):
        ready.explain(complete(X[[9]]), np.array([float(month)]))
        assert len(ready._prepared) <= MOST_PREPARED
    np.testing.assert_array_equal(ready.reference(np.array([0.0])), first)


@pytest.mark.parametrize(
    ("make", "steep"),
    [(make, steep) for make in (hazard_double, response_double) for steep in (1.0, 3.0, 6.0)]
    + [(competing_double, 1.0), (competing_double, 3.0)],
)
def test_steep_models_still_add_up(cohort, make, steep):
    """Steeper competing hazards pass the log odds of 30, where they are held, while the other causes tell."""
    X, strata = cohort
    model = make(COLUMNS, seed=5, steep=steep)
    found = explainer(model, even(X[:10], strata[:10])).explain(complete(X[10:20]), TIMES)
    assert np.abs(found.reference + found.contributions.sum(axis=-1) - found.prediction).max() < 1e-6


def test_the_method_is_said_in_words(model, cohort):
    X, strata = cohort
    assert explainer(model, even(X[:5], strata[:5])).method == EXACT


# Unknown values


@pytest.fixture(scope="module")
def drawn(cohort):
    """Fifteen patients, of most of whom something is unknown and drawn."""
    X, _ = cohort
    return drawn_rows(np.nan_to_num(X[40:55]), OWNER, COLUMNS + 1, draws=8, seed=1)


def answered(model, patients):
    """Return every row's probabilities."""
    return model.predict(patients.X, np.ones(len(patients.X), dtype=np.int64), TIMES)


def test_a_patients_prediction_is_the_mean_over_their_rows_and_contributions_lead_to_it(model, cohort, drawn):
    X, strata = cohort
    found = explainer(model, even(X[:20], strata[:20])).explain(drawn, TIMES)
    expected = on_both_scales(drawn.mean(answered(model, drawn)), link_of(model))
    np.testing.assert_allclose(found.prediction, expected, rtol=0, atol=1e-12)
    total = found.reference + found.contributions.sum(axis=-1)
    np.testing.assert_allclose(total, found.prediction, rtol=0, atol=1e-6)
    found.require_sums(model.outcomes, link_of(model).name)
    assert found.scores.shape[0] == found.shares.shape[0] == len(drawn.X)


def test_whoever_is_known_is_explained_as_without_the_others_and_everybody_as_alone(model, cohort, drawn):
    X, strata = cohort
    ready = explainer(model, even(X[:20], strata[:20]))
    together = ready.explain(drawn, TIMES)
    for row, own in enumerate(drawn.one_by_one()):
        alone = ready.explain(own, TIMES)
        np.testing.assert_array_equal(together.contributions[row], alone.contributions[0])
        np.testing.assert_array_equal(together.prediction[row], alone.prediction[0])
    complete_ones = np.flatnonzero(~drawn.unknown.any(axis=1))
    apart = ready.explain(complete(drawn.X[drawn.first[complete_ones]]), TIMES)
    np.testing.assert_array_equal(together.contributions[complete_ones], apart.contributions)


def test_one_unknown_predictor_is_explained_as_rows_are_that_are_not_known_to_be_alike(by_column, cohort):
    """Rows that differ in one predictor alone share what the trees add for the others."""
    X, strata = cohort
    rows = np.repeat(np.nan_to_num(X[50:51]), 9, axis=0)
    rows[:, 3] = np.linspace(-2.0, 2.0, 9)
    told = Told(np.array([3]), np.array([0]), np.array([[0.4]]), rows[:, [3]])
    unknown = np.arange(COLUMNS + 1)[None] == 3
    patient = Completions(rows, np.full(9, 1.0 / 9), np.zeros(1, dtype=np.int64), unknown, (told,))
    ready = explainer(by_column, even(X[:20], strata[:20]))
    found = ready.explain(patient, TIMES)
    each = ready.explain(complete(rows), TIMES)
    np.testing.assert_allclose(found.shares, each.shares, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.scores, each.scores, rtol=0, atol=1e-10)


def test_rows_that_are_all_alike_are_explained_as_the_one_row(model, cohort):
    X, strata = cohort
    row, unknown = np.nan_to_num(X[60:61]), np.arange(COLUMNS + 1)[None] == 1
    told = Told(np.array([1]), np.array([0, 2]), np.array([[0.5, -0.5]]), np.zeros((6, 1)))
    same = Completions(
        np.repeat(row, 6, axis=0), np.full(6, 1.0 / 6), np.zeros(1, dtype=np.int64), unknown, (told,)
    )
    ready = explainer(model, even(X[:20], strata[:20]))
    one, other = ready.explain(same, TIMES), ready.explain(complete(row), TIMES)
    np.testing.assert_allclose(one.contributions, other.contributions, rtol=0, atol=1e-9)


def test_what_known_values_tell_of_an_unknown_one_is_handed_on_to_them():
    """A linear share: its mean moves to the known in proportion to what each adds, its slope being 2."""
    deviates, means = np.array([-1.5, -0.5, 0.5, 1.5]), np.array([[0.6, -0.2]])
    scores = means.sum() + deviates
    shares = np.zeros((4, 1, 4))
    shares[:, 0, 2] = 7.0 + 2.0 * scores
    shares[:, 0, 0] = 1.0
    told = Told(np.array([2]), np.array([0, 3]), means, scores[:, None])
    unknown = np.array([[False, False, True, False]])
    patient = Completions(np.zeros((4, 4)), np.full(4, 0.25), np.zeros(1, dtype=np.int64), unknown, (told,))
    found = hand_on(patient, shares)
    np.testing.assert_allclose(found[0, 0], [1.0 + 1.2, 0.0, 7.0, -0.4], rtol=0, atol=1e-12)


def test_handing_on_leaves_the_sum_and_everybody_known_as_they_were(drawn):
    shares = np.random.default_rng(0).normal(size=(len(drawn.X), 3, COLUMNS + 1))
    found, mean = hand_on(drawn, shares), drawn.mean(shares)
    np.testing.assert_allclose(found.sum(axis=2), mean.sum(axis=2), rtol=0, atol=1e-12)
    known = ~drawn.unknown.any(axis=1)
    np.testing.assert_array_equal(found[known], mean[known])
    assert np.abs(found - mean)[~known].max() > 0.01


def test_what_averaging_changes_goes_to_unknown_predictors_as_their_shares_vary(drawn):
    varied = np.random.default_rng(0).random(drawn.unknown.shape)
    found, some = spread_over_unknown(drawn, varied), drawn.unknown.any(axis=1)
    assert not found[~drawn.unknown].any()
    np.testing.assert_allclose(found[some].sum(axis=1), 1.0, rtol=0, atol=1e-12)
    for row in np.flatnonzero(some):
        own = drawn.unknown[row]
        np.testing.assert_allclose(found[row, own], varied[row, own] / varied[row, own].sum(), atol=1e-12)
    even_ones = spread_over_unknown(drawn, np.zeros_like(varied))
    np.testing.assert_allclose(
        even_ones[some], drawn.unknown[some] / drawn.unknown[some].sum(axis=1)[:, None], atol=1e-12
    )
    assert not even_ones[~some].any()


# Refusals


@pytest.mark.parametrize(("scale", "named"), [(0, "the probability"), (1, "the complementary_log_log")])
@pytest.mark.parametrize("wrong", [1.001, np.nan, np.inf])
def test_contributions_that_miss_the_prediction_are_refused_by_name(cohort, wrong, scale, named):
    X, strata = cohort
    model = DOUBLES["competing"]
    found = explainer(model, even(X[:5], strata[:5])).explain(complete(X[5:9]), TIMES)
    found.require_sums(model.outcomes, link_of(model).name)
    spoiled = found.contributions.copy()
    spoiled[2, scale, 1, 3] *= wrong
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(NotExplained, match=f"non_relapse_mortality on the scale of {named} miss"),
    ):
        replace(found, contributions=spoiled).require_sums(model.outcomes, link_of(model).name)


@pytest.mark.parametrize("make", [hazard_double, competing_double, response_double])
def test_absurd_scores_are_refused_and_not_shown(cohort, make):
    X, strata = cohort
    model = make(COLUMNS, seed=5, steep=1e5)
    with np.errstate(all="ignore"), pytest.raises(NotExplained, match="miss the prediction by"):
        explainer(model, even(X[:10], strata[:10])).explain(complete(X[10:20]), TIMES)


# Shapley values


MAKERS = {
    "hazard": (hazard_double, (0.06, 0.01)),
    "competing": (competing_double, (0.06, 0.02)),
    "uneven": (partial(competing_double, uneven=True), (0.06, 0.02)),
    "response": (response_double, (0.09, 0.02)),
    "linear": (partial(response_double, trees=False), (0.09, 0.02)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_close_to_brute_force_shapley_values_of_the_same_value_function(name, cohort, record_property):
    """Aumann-Shapley and Shapley values differ where the answer bends; four models of each kind.

    By how much: the mean absolute difference over a contribution's mean size, on either scale.
    """
    (X, strata), (make, most) = cohort, MAKERS[name]
    apart = []
    for seed in range(4):
        model = make(COLUMNS, seed=seed)
        background = fit_background(model, link_of(model), complete(X), strata, TIMES, size=24)
        found = explainer(model, background).explain(complete(X[:8]), TIMES).contributions
        games = [
            interventional(model, link_of(model), background, OWNER, COLUMNS, (X[row], strata[row]), TIMES)
            for row in range(8)
        ]
        exact = np.stack([shapley_values(game, COLUMNS + 1) for game in games])
        np.testing.assert_allclose(exact.sum(axis=-1), found.sum(axis=-1), atol=1e-6)
        for scale in (0, 1):
            ours, theirs = (each[:, scale, ..., :COLUMNS].ravel() for each in (found, exact))
            assert spearmanr(theirs, ours).statistic > 0.985
        size = np.abs(exact).mean(axis=(0, 2, 3, 4))
        apart.append(np.abs(exact - found).mean(axis=(0, 2, 3, 4)) / size)
    for scale, mean in enumerate(np.mean(apart, axis=0).tolist()):
        record_property(f"scale {scale}: mean absolute difference over mean size", mean)
        assert mean < most[scale]


def test_both_are_the_same_where_the_answer_is_a_sum(cohort):
    """The log odds of one outcome alone are."""
    X, strata = cohort
    double = response_double(COLUMNS, seed=9, trees=False)
    one = replace(
        double,
        outcomes=("response",),
        transform=NestedOdds(1),
        base=double.base[:, :1],
        coefficients=np.repeat(double.coefficients[:1, :1], 2, axis=0),
        means=np.tile(double.means[:1], (2, 1)),
        stretch=double.stretch[:1],
        shift=double.shift[:1],
    )
    background = even(X[:20], strata[:20])
    found = explainer(one, background).explain(complete(X[20:21]), TIMES).contributions
    game = interventional(one, LINKS["log_odds"], background, OWNER, COLUMNS, (X[20], strata[20]), TIMES)
    np.testing.assert_allclose(found[0, 1], shapley_values(game, COLUMNS + 1)[1], atol=1e-6)
