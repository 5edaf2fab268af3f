"""Competing risks: closed forms by hand, slopes by differences, truth on simulated patients. Synthetic."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import CompetingOutcome
from features.errors import InvalidInput, NotFittable
from models.estimators.competing import CAUSES, CompetingModel, CrossFittedCompeting, cause_specific
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.interface import probabilities
from models.explanation.attribution import EndpointExplainer
from models.explanation.background import fit_background
from tests.models.endpoint_doubles import EDGES, hazard_double, patients

TIMES = np.linspace(0.5, 70.0, 25)
QUICK = CrossFittedCompeting(
    survival=CrossFitted(cox=RidgeCox(penalties=(1.0,), folds=3), folds=3, repeats=1)
)


def double(causes=CAUSES, *, columns=6):
    """Return hazards with curved shares, one a cause."""
    hazards = [replace(hazard_double(columns, seed=at), outcome=name) for at, name in enumerate(causes)]
    return CompetingModel(tuple(hazards))


@dataclass(frozen=True)
class Constant:
    """What trees are that never split, over two intervals."""

    def contributions(self, X):
        return np.zeros((len(X), 2, X.shape[1]))

    def margins(self, X):
        return np.tile(self.expected(), (len(X), 1))

    def expected(self):
        return np.array([0.1, 0.2])


def uneven():
    """Return a model whose second cause has joined intervals: (0, 9] and (9, 60]."""
    first, second = double().hazards
    joined = replace(second, edges=EDGES[[3, 9]], base=second.base[:, :2], trees=Constant())
    return CompetingModel((first, joined))


def drawn(model, count, *, spread=1.5, seed=4):
    """Draw scores."""
    scores = sum(len(hazard.edges) for hazard in model.hazards)
    return np.random.default_rng(seed).normal(-1.5, spread, (count, scores))


MODELS = {"two": double(), "three": double(("relapse", "infection", "organ_failure")), "uneven": uneven()}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


def rates(X, strata):
    """Return each cause's monthly hazard, shape (patients, 2): the first column acts on both, oppositely."""
    relapse = np.array([0.02, 0.05])[strata] * np.exp(0.8 * X[:, 0])
    return np.stack([relapse, 0.015 * np.exp(-0.6 * X[:, 0])], axis=1)


def simulated(seed, *, count):
    """Return two diseases under constant hazards and uniform censoring."""
    rng = np.random.default_rng(seed)
    X, strata = rng.normal(size=(count, 2)), rng.integers(0, 2, count)
    times = np.column_stack([rng.exponential(1.0 / rates(X, strata)), rng.uniform(1.0, 90.0, count)])
    return X, strata, CompetingOutcome(times.min(axis=1), np.array([1, 2, 0])[times.argmin(axis=1)])


def true_incidence(X, strata, times):
    hazard = rates(X, strata)[:, :, None]
    total = hazard.sum(axis=1, keepdims=True)
    return hazard / total * -np.expm1(-total * times)


def aalen_johansen(outcome, cause, time):
    """Return the cumulative incidence by the textbook sum over event times, which have no ties here."""
    order = np.argsort(outcome.duration)
    at_risk, causes = np.arange(len(order), 0, -1), outcome.cause[order]
    before = np.append(1.0, np.cumprod(1.0 - (causes > 0) / at_risk))[:-1]
    return ((before / at_risk)[(causes == cause) & (outcome.duration[order] <= time)]).sum()


def with_events(outcome, kept, *, cause=2):
    """Return the outcome with only some events of a cause, the others censored."""
    dropped = np.setdiff1d(np.flatnonzero(outcome.cause == cause), kept)
    cause_of = outcome.cause.copy()
    cause_of[dropped] = 0
    return CompetingOutcome(outcome.duration, cause_of)


@pytest.fixture(scope="module")
def cohort():
    return simulated(1, count=1000)


@pytest.fixture(scope="module")
def fitted(cohort):
    return QUICK.cross_fit(*cohort)


@pytest.mark.parametrize("spread", [1.0, 10.0, 40.0])
def test_incidences_never_fall_and_with_the_event_free_sum_to_one(model, spread):
    X, strata = patients(200, 6, seed=3)
    steep = replace(
        model, hazards=tuple(replace(h, coefficients=spread * h.coefficients) for h in model.hazards)
    )
    incidence = steep.probabilities(steep.scores(X, strata, TIMES), TIMES)
    free = steep.survival(X, strata, TIMES)
    assert np.abs(incidence.sum(axis=1) + free - 1.0).max() < 1e-12
    assert ((incidence >= 0.0) & (incidence <= 1.0)).all()
    assert (np.diff(incidence, axis=2) >= -1e-14).all()
    assert (np.diff(free, axis=1) <= 1e-14).all()


def test_nothing_has_happened_at_the_index_date(model):
    X, strata = patients(1, 6, seed=3)
    start = np.array([0.0])
    assert model.survival(X, strata, start).tolist() == [[1.0]]
    assert not model.probabilities(drawn(model, 1), start).any()


def test_with_constant_hazards_the_incidence_has_its_textbook_form():
    # monthly hazards 0.03 and 0.01: F1(t) = 3/4 (1 - exp(-0.04 t)) up to the last interval's end
    widths = np.diff(np.append(0.0, EDGES))
    margins = [np.log(np.expm1(hazard * widths)) for hazard in (0.03, 0.01)]
    times = np.linspace(0.5, EDGES[-1], 25)
    relapse, mortality = double().probabilities(np.concatenate(margins)[None], times)[0]
    np.testing.assert_allclose(relapse, 0.75 * (1.0 - np.exp(-0.04 * times)), atol=1e-12)
    np.testing.assert_allclose(mortality, 0.25 * (1.0 - np.exp(-0.04 * times)), atol=1e-12)


def test_joined_intervals_have_the_hazard_of_the_whole():
    # the second cause at 0.01 a month in both of its intervals, the first at 0.03 in all ten
    first, second = (np.diff(np.append(0.0, hazard.edges)) for hazard in uneven().hazards)
    scores = np.concatenate([np.log(np.expm1(0.03 * first)), np.log(np.expm1(0.01 * second))])
    times = np.linspace(0.5, EDGES[-1], 25)
    found = uneven().probabilities(scores[None], times)[0]
    expected = np.array([0.75, 0.25])[:, None] * (1.0 - np.exp(-0.04 * times))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_beyond_the_last_interval_nothing_more_happens(model):
    last, later = model.probabilities(drawn(model, 5), np.array([EDGES[-1], 300.0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(last, later)


def test_event_free_is_what_every_cause_alone_would_leave():
    model = double()
    X, strata = patients(50, 6, seed=3)
    alone = [hazard.survival(X, strata, TIMES) for hazard in model.hazards]
    np.testing.assert_allclose(model.survival(X, strata, TIMES), alone[0] * alone[1], atol=1e-13)


def test_slopes_are_the_probabilities_derivatives(model):
    step, scores = 1e-5, drawn(model, 4)
    slopes = model.slopes(scores, TIMES)
    assert slopes.shape == (4, len(model.outcomes), len(TIMES), scores.shape[1])
    for at in range(scores.shape[1]):
        moved = step * np.eye(scores.shape[1])[at]
        change = model.probabilities(scores + moved, TIMES) - model.probabilities(scores - moved, TIMES)
        np.testing.assert_allclose(slopes[..., at], change / (2 * step), atol=1e-9)


def test_scores_are_the_sum_of_their_parts(model):
    X, strata = patients(40, 6, seed=5)
    np.testing.assert_allclose(
        model.parts(X, strata, TIMES).total(), model.scores(X, strata, TIMES), atol=1e-12
    )


def test_explanations_of_every_cause_add_up(fitted, cohort):
    X, strata, _ = cohort
    times = np.array([6.0, 12.0, 36.0])
    background = fit_background(fitted.model, X, strata, times, size=30)
    explainer = EndpointExplainer(fitted.model, background, np.eye(2, 3), 2, ("a", "a", "disease"))
    found = explainer.explain(X[:8], strata[:8], times)
    assert found.outcomes == CAUSES
    assert np.abs(found.reference + found.contributions.sum(axis=-1) - found.prediction).max() < 1e-6
    assert np.abs(found.contributions[:, 0, :, :, 0]).max() > 0.05


def test_the_truth_is_recovered_and_not_that_of_a_world_without_the_other_cause(fitted):
    rng = np.random.default_rng(6)
    X, strata = rng.normal(size=(500, 2)), rng.integers(0, 2, 500)
    times = np.linspace(2.0, 60.0, 30)
    truth = true_incidence(X, strata, times)
    error = probabilities(fitted.model, X, strata, times) - truth
    alone = np.stack([1.0 - hazard.survival(X, strata, times) for hazard in fitted.model.hazards], axis=1)
    assert np.abs(error).mean() < 0.035
    assert np.abs(error).mean() < 0.4 * np.abs(alone - truth).mean()


def test_another_fit_gives_the_same_files(fitted, cohort):
    assert QUICK.fit(*cohort).files() == fitted.model.files()


def test_the_model_is_its_members_mean_and_held_out_scores_are_by_members_that_never_saw(fitted, cohort):
    X, strata, _ = cohort
    assert len(fitted.members) == 3
    assert fitted.fold_share == pytest.approx(1 / 3)
    whole = fitted.model.scores(X, strata, TIMES)
    by_member = np.stack([member.scores(X, strata, TIMES) for member in fitted.members])
    np.testing.assert_allclose(by_member.mean(axis=0), whole, atol=1e-9)
    apart = np.abs(by_member - fitted.held_out).max(axis=2)
    assert apart.min(axis=0).max() < 1e-6
    assert np.bincount(apart.argmin(axis=0)).min() > len(X) / 4


def test_files_give_the_same_answers(fitted, cohort):
    X, strata, _ = cohort
    files = fitted.model.files()
    assert set(files) == {
        "competing.json",
        "hazard-relapse.json",
        "trees-relapse.npz",
        "hazard-non_relapse_mortality.json",
        "trees-non_relapse_mortality.npz",
    }
    again = CompetingModel.from_files(files)
    assert again.outcomes == CAUSES
    np.testing.assert_array_equal(
        probabilities(again, X, strata, TIMES), probabilities(fitted.model, X, strata, TIMES)
    )
    assert again.files() == files


def test_a_cause_with_five_events_is_fitted_and_stays_rare(cohort):
    X, strata, outcome = cohort
    five = np.flatnonzero((outcome.cause == 2) & (outcome.duration < 20.0))[:5]
    assert np.bincount(strata[five], minlength=2).min() < 5
    rare = with_events(outcome, five)
    model = replace(QUICK, survival=replace(QUICK.survival, folds=5)).fit(X, strata, rare)
    assert model.hazards[1].chosen["pooled_diseases"] == 2.0
    assert "pooled_diseases" not in model.hazards[0].chosen
    assert [len(hazard.edges) for hazard in model.hazards] == [20, 1]
    by_cause = probabilities(model, X, strata, np.array([24.0]))[:, :, 0]
    assert 0.5 * aalen_johansen(rare, 2, 24.0) < by_cause[:, 1].mean() < 1.5 * aalen_johansen(rare, 2, 24.0)
    assert by_cause[:, 0].mean() == pytest.approx(aalen_johansen(rare, 1, 24.0), abs=0.06)


def test_a_cause_without_events_is_not_fittable_and_named(cohort):
    X, strata, outcome = cohort
    with pytest.raises(
        NotFittable, match="non_relapse_mortality has 0 events; 3-fold cross-validation needs 3"
    ):
        QUICK.fit(X, strata, with_events(outcome, []))


def test_faults_of_the_outcome_are_named_together(cohort):
    X, strata, outcome = cohort
    duration, cause = outcome.duration.copy(), outcome.cause.copy()
    duration[3], cause[[5, 7]] = 0.0, 3
    with pytest.raises(InvalidInput) as refused:
        QUICK.fit(X, strata, CompetingOutcome(duration, cause))
    assert [(p.field, p.rows, p.examples) for p in refused.value.problems] == [
        ("duration", 1, (4,)),
        ("cause", 2, (6, 8)),
    ]


def test_one_cause_alone_or_twice_is_refused():
    first, _ = double().hazards
    for wrong in ((first,), (first, first)):
        with pytest.raises(InvalidInput, match="causes: are not two or more different names"):
            CompetingModel(wrong)


def test_one_causes_times_are_censored_by_the_others():
    outcome = CompetingOutcome(np.array([3.0, 5.0, 7.0]), np.array([1, 2, 0]))
    relapse: Outcome = cause_specific(outcome, 1)
    assert relapse.duration.tolist() == [3.0, 5.0, 7.0]
    assert relapse.event.tolist() == [True, False, False]
