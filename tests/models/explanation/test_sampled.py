"""Sampled explanations: they add up, repeat themselves, and lie within their errors of the whole game."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from features.errors import NotExplained
from models.estimators.links import LINKS, on_both_scales
from models.estimators.xgboost_aft import AFTModel, XGBoostAFT
from models.explanation.attribution import ExactExplainer
from models.explanation.background import Background, fit_background
from models.explanation.sampled import PERMUTATIONS, SAMPLED, SampledExplainer
from models.patient.completion import Completions
from tests.lib.completions import complete_rows, drawn_rows
from tests.models.endpoint_doubles import patients, response_double
from tests.models.explanation.games import interventional, shapley_values
from tests.models.outcomes import sample_outcome

pytestmark = pytest.mark.filterwarnings(  # raised by shap's figures as it loads
    "ignore:The set_.* function will be deprecated:PendingDeprecationWarning"
)
COLUMNS, PREDICTORS, DISEASE = 4, 4, 3
OWNER = np.array([0, 1, 2, 1])  # two columns of the second predictor; the last predictor is the disease
TIMES = np.array([6.0, 24.0])
LINK = LINKS["log_cumulative_hazard"]


def complete(X):
    return complete_rows(X, PREDICTORS)


@pytest.fixture(scope="module")
def cohort():
    """Patients of both diseases; whoever is explained has the second."""
    return patients(300, COLUMNS, seed=3)


@pytest.fixture(scope="module")
def own(cohort):
    X, strata = cohort
    return X[strata == 1], strata[strata == 1]


@pytest.fixture(scope="module")
def model(cohort):
    """Accelerated failure times with interactions, of columns, a disease and gaps."""
    X, strata = cohort
    filled = np.nan_to_num(X)
    score = filled[:, 0] * np.sign(filled[:, 1]) + 0.8 * strata * filled[:, 2] + 0.5 * np.isnan(X[:, 3])
    outcome = sample_outcome(np.random.default_rng(0), 0.04 * np.exp(score))
    return XGBoostAFT(rounds=40).fit(X, strata, outcome)


@pytest.fixture(scope="module")
def background(model, cohort):
    X, strata = cohort
    return fit_background(model, LINK, complete(X), strata, TIMES, size=16).of(1)


@pytest.fixture(scope="module")
def explainer(model, background):
    return SampledExplainer(model, LINK, background, OWNER, PREDICTORS, DISEASE)


@pytest.fixture(scope="module")
def found(explainer, own):
    X, _ = own
    return explainer.explain(complete(X[:12]), TIMES)


def test_contributions_lead_from_the_diseases_mean_to_the_prediction(found, model, own):
    X, strata = own
    everyone = on_both_scales(model.predict(X, strata, TIMES), LINK)
    assert found.contributions.shape == (12, 2, 1, 2, PREDICTORS)
    assert found.scores is None
    np.testing.assert_allclose(found.reference, everyone.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(found.prediction, everyone[:12], atol=1e-12)
    total = found.reference + found.contributions.sum(axis=-1)
    np.testing.assert_allclose(total, found.prediction, atol=1e-9)


def test_contributions_lie_within_their_errors_of_the_game_enumerated(found, model, background, own):
    """Within four; the stated error is the largest of an answer's, so few lie beyond two of them."""
    X, strata = own
    games = [
        interventional(model, LINK, background, OWNER, DISEASE, (X[row], strata[row]), TIMES)
        for row in range(12)
    ]
    exact = np.stack([shapley_values(game, PREDICTORS) for game in games])
    missed, error = np.abs(found.contributions - exact), found.standard_error[..., None]
    assert (missed <= 4.0 * error + 1e-9).all()
    assert (missed > 2.0 * error).mean() < 0.05
    assert missed.max() > 1e-4
    assert np.sqrt((missed**2).mean()) > 0.1 * np.sqrt((error**2).mean())
    sizes = np.abs(exact).max(axis=-1)
    assert np.median(found.standard_error / sizes) < 0.15


def test_standard_errors_are_those_of_many_samples(explainer, own, monkeypatch):
    """Over seeds contributions spread no wider than stated: what is run both ways varies less than apart."""
    X, _ = own
    stated, drawn = explainer.explain(complete(X[:1]), TIMES), []
    for seed in range(20):
        monkeypatch.setattr("models.explanation.sampled.SEED", seed)
        drawn.append(explainer.explain(complete(X[:1]), TIMES).contributions[0])
    spread = np.std(drawn, axis=0, ddof=1).max(axis=-1)
    assert (spread < 1.3 * stated.standard_error[0]).all()
    assert (spread > 0.1 * stated.standard_error[0]).all()


def test_where_answers_are_sums_the_sample_is_exact():
    """The log odds of the broadest response: permutations are all alike, and as the exact explanation."""
    X, _ = patients(100, COLUMNS, seed=5)
    model, link = response_double(COLUMNS, seed=2, trees=False), LINKS["log_odds"]
    behind = Background(X[:20], np.ones(20, dtype=np.int64), np.full(20, 0.05), np.full(2, 0.5))
    rest = (link, behind, OWNER, PREDICTORS, DISEASE)
    sampled = SampledExplainer(model, *rest).explain(complete(X[20:25]), TIMES)
    exact = ExactExplainer(model, *rest).explain(complete(X[20:25]), TIMES)
    broadest = (slice(None), 1, 1)
    np.testing.assert_allclose(sampled.contributions[broadest], exact.contributions[broadest], atol=1e-6)
    assert sampled.standard_error[broadest].max() < 1e-9
    assert sampled.standard_error[:, 0].min() > 1e-9


def same_state(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_patient_gets_the_same_contributions_alone_and_among_others(found, explainer, own):
    X, _ = own
    order = [7, 2, 7]
    again = explainer.explain(complete(X[order]), TIMES)
    for at, row in enumerate(order):
        np.testing.assert_array_equal(again.contributions[at], found.contributions[row])
        np.testing.assert_array_equal(again.standard_error[at], found.standard_error[row])


@pytest.mark.parametrize("fails", [False, True])
def test_numpys_global_generator_does_not_matter_and_is_left_as_it_was(found, explainer, own, fails):
    (X, _), at_first = own, np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(123)  # noqa: NPY002
        np.random.normal()  # noqa: NPY002
        before = np.random.get_state()  # noqa: NPY002
        if fails:
            with pytest.raises(ValueError, match="broadcast"):
                explainer.explain(complete(X[:1, :2]), TIMES)
        else:
            again = explainer.explain(complete(X[:2]), TIMES)
            np.testing.assert_array_equal(again.contributions, found.contributions[:2])
        assert same_state(np.random.get_state(), before)  # noqa: NPY002
    finally:
        np.random.set_state(at_first)  # noqa: NPY002


def test_threads_that_explain_at_once_do_not_disturb_one_another(found, explainer, own):
    X, _ = own
    with ThreadPoolExecutor(4) as pool:
        each = list(pool.map(lambda row: explainer.explain(complete(X[[row]]), TIMES), range(12)))
    together = np.concatenate([one.contributions for one in each])
    np.testing.assert_array_equal(together, found.contributions)


@dataclass(frozen=True)
class Wavering:
    """A model whose answers change from one question to the next."""

    model: AFTModel
    asked: list[int] = field(default_factory=list)

    @property
    def outcomes(self):
        return self.model.outcomes

    def predict(self, X, strata, times):
        self.asked.append(len(X))
        return self.model.predict(X, strata, times) * 0.999 ** len(self.asked)


def test_contributions_that_miss_the_prediction_are_refused(model, background, own):
    X, _ = own
    wavering = SampledExplainer(Wavering(model), LINK, background, OWNER, PREDICTORS, DISEASE)
    with pytest.raises(NotExplained, match="survival on the scale of the probability miss the prediction"):
        wavering.explain(complete(X[:1]), TIMES)


# Unknown values


def test_a_patients_prediction_is_the_mean_over_their_rows_and_contributions_lead_to_it(
    explainer, model, own
):
    X, _ = own
    drawn = drawn_rows(np.nan_to_num(X[20:23]), OWNER, PREDICTORS, draws=5, seed=2)
    found = explainer.explain(drawn, TIMES)
    each = model.predict(drawn.X, np.ones(len(drawn.X), dtype=np.int64), TIMES)
    np.testing.assert_allclose(found.prediction, on_both_scales(drawn.mean(each), LINK), rtol=0, atol=1e-12)
    total = found.reference + found.contributions.sum(axis=-1)
    np.testing.assert_allclose(total, found.prediction, rtol=0, atol=1e-9)
    for row, alone in enumerate(drawn.one_by_one()):
        np.testing.assert_array_equal(
            explainer.explain(alone, TIMES).contributions[0], found.contributions[row]
        )


def test_what_the_sample_misses_of_the_mean_is_the_unknown_predictors_in_equal_parts(explainer, own):
    """The same rows, of which nothing or two predictors are said to have been drawn."""
    X, _ = own
    rows, first = np.repeat(np.nan_to_num(X[30:31]), 4, axis=0), np.zeros(1, dtype=np.int64)
    rows[:, 0] = [-2.0, -1.0, 1.0, 2.0]
    two = np.array([[True, True, False, False]])
    patient = Completions(rows, np.array([0.4, 0.3, 0.2, 0.1]), first, two, (None,))
    found = explainer.explain(patient, TIMES)
    sampled, _ = explainer._explain_one(patient, TIMES)
    sampled = sampled.reshape(found.contributions.shape)
    moved = found.contributions - sampled
    np.testing.assert_allclose(moved[..., 2:], 0.0, atol=1e-12)
    np.testing.assert_allclose(moved[..., 0], moved[..., 1], rtol=0, atol=1e-12)
    assert np.abs(moved).max() > 1e-6


def test_the_method_says_that_it_samples_and_how_often(explainer):
    assert explainer.method == SAMPLED
    assert f"sampled by {PERMUTATIONS} permutations" in SAMPLED
