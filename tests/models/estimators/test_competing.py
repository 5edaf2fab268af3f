"""Competing risks: causes as one model, what a fit recovers, borrows and refuses. Simulated patients."""

from dataclasses import replace

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import CompetingOutcome
from features.errors import InvalidInput, NotFittable
from models.estimators import cross_fitted
from models.estimators.additive import AdditiveModel
from models.estimators.competing import (
    CAUSES,
    CrossFittedCompeting,
    cause_specific,
    join_causes,
    joined_intervals,
)
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.links import LINKS
from models.explanation.attribution import ExactExplainer
from models.explanation.background import fit_background
from tests.lib.completions import complete_rows
from tests.models.endpoint_doubles import EDGES, coarse, competing_double, hazard_double, patients

TIMES = np.linspace(0.5, 70.0, 25)
LINK = LINKS["complementary_log_log"]
QUICK = CrossFittedCompeting(folds=3, hazards=CrossFitted(cox=RidgeCox(penalties=(1.0,)), folds=3, repeats=1))


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


def each_alone(cohort):
    """Fit each cause's survival as if the other could be ruled out."""
    X, strata, outcome = cohort
    fits = [QUICK.hazards.cross_fit(X, strata, cause_specific(outcome, cause)) for cause in (1, 2)]
    return [fit.model for fit in fits]


@pytest.fixture(scope="module")
def cohort():
    return simulated(1, count=1000)


@pytest.fixture(scope="module")
def fitted(cohort):
    return QUICK.cross_fit(*cohort)


# Several causes as one model


@pytest.mark.parametrize("uneven", [False, True])
def test_the_scores_of_all_causes_stand_side_by_side(uneven):
    X, strata = patients(60, 6, seed=5)
    first, second = (hazard_double(6, seed=at) for at in (3, 4))
    second = coarse(second, EDGES[[3, 9]]) if uneven else second
    joined = join_causes([first, second], CAUSES)
    expected = np.hstack([first.scores(X, strata), second.scores(X, strata)])
    np.testing.assert_allclose(joined.scores(X, strata), expected, atol=1e-5)
    np.testing.assert_allclose(joined.tabulated().scores(X, strata), expected, atol=1e-5)
    assert [len(edges) for edges in joined.transform.edges] == [10, 2 if uneven else 10]
    assert joined.penalties.tolist() == [20.0, 20.0]
    joined.tabulated().check(columns=6, strata=2)


def test_causes_without_trees_make_a_model_without_trees():
    bare = coarse(hazard_double(6, seed=3), EDGES)
    assert join_causes([bare, bare], CAUSES).trees is None


def test_event_free_is_what_every_cause_alone_would_leave():
    X, strata = patients(50, 6, seed=3)
    hazards = [hazard_double(6, seed=at) for at in (1, 2)]
    free = 1.0 - join_causes(hazards, CAUSES).tabulated().predict(X, strata, TIMES).sum(axis=1)
    alone = [hazard.predict(X, strata, TIMES)[:, 0] for hazard in hazards]
    np.testing.assert_allclose(free, alone[0] * alone[1], atol=1e-6)


@pytest.mark.parametrize("spread", [1.0, 10.0, 40.0])
def test_incidences_of_anyone_never_fall_and_leave_the_event_free(spread):
    X, strata = patients(200, 6, seed=3)
    for model in (competing_double(6, seed=1), competing_double(6, seed=1, uneven=True)):
        steep = replace(model, coefficients=spread * model.coefficients)
        incidence = steep.predict(X, strata, TIMES)
        assert ((incidence >= 0.0) & (incidence <= 1.0)).all()
        assert (incidence.sum(axis=1) <= 1.0 + 1e-12).all()
        assert (np.diff(incidence, axis=2) >= -1e-14).all()


def test_causes_that_are_centred_apart_cannot_be_joined():
    one = hazard_double(3, seed=1)
    with pytest.raises(AssertionError, match="causes differ in means"):
        join_causes([one, replace(one, means=one.means + 1.0)], CAUSES)


def test_names_are_each_cause_s_own():
    hazards = [hazard_double(3, seed=1), hazard_double(3, seed=2)]
    named = [replace(hazard, hyperparameters={"models": float(at)}) for at, hazard in enumerate(hazards)]
    assert join_causes(named, ("relapse", "infection")).hyperparameters == {
        "relapse_models": 0.0, "infection_models": 1.0,
    }  # fmt: skip
    for wrong in (("relapse",), ("relapse", "relapse")):
        with pytest.raises(InvalidInput, match="causes: are not two or more different names"):
            join_causes(hazards[: len(wrong)], wrong)


# The fit


def test_explanations_of_every_cause_add_up(fitted, cohort):
    X, strata, _ = cohort
    times, model = np.array([6.0, 12.0, 36.0]), fitted.model.tabulated()
    background = fit_background(model, LINK, complete_rows(X, 3), strata, times, size=30)
    explainer = ExactExplainer(model, LINK, background.of(1), np.array([0, 1]), 3, 2)
    found = explainer.explain(complete_rows(X[strata == 1][:8], 3), times)
    assert found.prediction.shape == (8, 2, 2, 3)
    assert np.abs(found.reference + found.contributions.sum(axis=-1) - found.prediction).max() < 1e-6
    assert np.abs(found.contributions[:, 0, :, :, 0]).max() > 0.05


def test_the_truth_is_recovered_and_not_that_of_a_world_without_the_other_cause(fitted, cohort):
    rng = np.random.default_rng(6)
    X, strata = rng.normal(size=(500, 2)), rng.integers(0, 2, 500)
    times = np.linspace(2.0, 60.0, 30)
    truth = true_incidence(X, strata, times)
    error = fitted.model.predict(X, strata, times) - truth
    alone = 1.0 - np.hstack([hazard.predict(X, strata, times) for hazard in each_alone(cohort)])
    assert np.abs(error).mean() < 0.035
    assert np.abs(error).mean() < 0.4 * np.abs(alone - truth).mean()


def test_another_fit_gives_the_same_files(fitted, cohort):
    assert QUICK.cross_fit(*cohort).model.files() == fitted.model.files()


def test_the_model_is_its_members_mean_and_held_out_scores_are_by_members_that_never_saw(fitted, cohort):
    X, strata, _ = cohort
    assert len(fitted.members) == 3
    assert fitted.fold_share == pytest.approx(1 / 3)
    by_member = np.stack([member.scores(X, strata) for member in fitted.members])
    np.testing.assert_allclose(by_member.mean(axis=0), fitted.model.scores(X, strata), atol=1e-5)
    apart = np.abs(by_member - fitted.held_out.scores).max(axis=2)
    assert apart.min(axis=0).max() < 1e-5
    assert np.bincount(apart.argmin(axis=0)).min() > len(X) / 4
    rows = np.array([5, 2, 9])
    np.testing.assert_allclose(
        fitted.held_out.probabilities(rows, TIMES),
        np.stack(
            [
                fitted.members[apart[:, row].argmin()].predict(X[[row]], strata[[row]], TIMES)[0]
                for row in rows
            ]
        ),
        atol=1e-5,
    )


def test_no_patient_is_held_out_of_one_cause_and_known_to_the_other(fitted, cohort):
    """The folds are one for all causes, so a member that missed a patient missed them in both."""
    X, strata, _ = cohort
    by_member = np.stack([member.scores(X, strata) for member in fitted.members])
    first = len(fitted.model.transform.edges[0])
    missed = [
        np.abs(part).max(axis=2).argmin(axis=0)
        for part in np.split(by_member - fitted.held_out.scores, [first], axis=2)
    ]
    np.testing.assert_array_equal(*missed)


def test_files_give_the_same_answers(cohort, monkeypatch):
    """Of a model with trees, which these linear effects would not give."""
    monkeypatch.setattr(cross_fitted, "shown_share", lambda _: 1.0)
    X, strata, outcome = cohort
    fitted = QUICK.cross_fit(X, strata, outcome)
    files = fitted.model.files()
    assert set(files) == {"model.json", "trees.npz", "booster-0.json", "booster-1.json"}
    again = CrossFittedCompeting.read(files)
    assert isinstance(again, AdditiveModel)
    assert again.outcomes == CAUSES
    assert again.files() == files
    ready = fitted.model.tabulated()
    np.testing.assert_array_equal(again.predict(X, strata, TIMES), ready.predict(X, strata, TIMES))


@pytest.fixture(scope="module")
def rare(cohort):
    """A cause with five events: its diseases, which differ in their columns and their gaps, are pooled."""
    X, strata, outcome = cohort
    X = X + np.array([[0.0, 0.0], [2.0, -1.0]])[strata]
    X[np.random.default_rng(2).random(X.shape) < 0.2] = np.nan
    five = np.flatnonzero((outcome.cause == 2) & (outcome.duration < 20.0))[:5]
    assert np.bincount(strata[five], minlength=2).min() < 5
    few = with_events(outcome, five)
    how = replace(QUICK, folds=5, hazards=replace(QUICK.hazards, folds=5))
    return X, strata, few, how.cross_fit(X, strata, few)


def test_a_cause_with_five_events_is_fitted_and_stays_rare(rare):
    X, strata, outcome, found = rare
    model = found.model
    assert model.hyperparameters["non_relapse_mortality_pooled_diseases"] == 2.0
    assert "relapse_pooled_diseases" not in model.hyperparameters
    assert [len(edges) for edges in model.transform.edges] == [20, 1]
    by_cause = model.predict(X, strata, np.array([24.0]))[:, :, 0].mean(axis=0)
    expected = [aalen_johansen(outcome, cause, 24.0) for cause in (1, 2)]
    assert 0.5 * expected[1] < by_cause[1] < 1.5 * expected[1]
    assert by_cause[0] == pytest.approx(expected[0], abs=0.06)


def test_pooled_diseases_are_as_one_where_all_is_known(rare):
    X, _, _, found = rare
    known = X[~np.isnan(X).any(axis=1)]
    one, other = (found.model.scores(known, np.full(len(known), disease)) for disease in (0, 1))
    np.testing.assert_allclose(one[:, 20], other[:, 20], atol=1e-9)
    assert np.abs(one[:, :20] - other[:, :20]).max() > 0.1


def test_pooled_diseases_have_a_gap_at_their_own_mean(rare):
    X, strata, _, found = rare
    linear = replace(found.model, trees=None)
    gaps, means = (linear.scores(at, np.arange(2)) for at in (np.full((2, 2), np.nan), linear.means))
    np.testing.assert_allclose(linear.means[1], np.nanmean(X[strata == 1], axis=0), atol=1e-12)
    np.testing.assert_allclose(gaps, means, atol=1e-12)


def test_held_out_scores_of_a_pooled_cause_are_by_members_too(rare):
    X, strata, _, found = rare
    by_member = np.stack([member.scores(X, strata) for member in found.members])
    apart = np.abs(by_member - found.held_out.scores).max(axis=2)
    assert apart.min(axis=0).max() < 1e-5
    np.testing.assert_allclose(by_member.mean(axis=0), found.model.scores(X, strata), atol=1e-5)


def test_intervals_are_joined_until_about_five_events_fall_in_each():
    rng = np.random.default_rng(3)
    edges = np.linspace(3.0, 60.0, 20)
    for events in (4, 12, 40, 99):
        outcome = Outcome(rng.uniform(0.5, 60.0, 300), np.arange(300) < events)
        kept = joined_intervals(outcome, edges)
        assert set(kept) <= set(edges)
        assert kept[-1] == edges[-1]
        assert len(kept) <= max(1, events // 5)
        assert len(kept) >= max(1, events // 5) / 2
    many = Outcome(rng.uniform(0.5, 60.0, 300), np.ones(300, dtype=bool))
    np.testing.assert_array_equal(joined_intervals(many, edges), edges)


# What a fit refuses


def test_a_cause_without_events_is_not_fittable_and_named(cohort):
    X, strata, outcome = cohort
    with pytest.raises(
        NotFittable, match="non_relapse_mortality has 0 events; 3-fold cross-validation needs 3"
    ):
        QUICK.cross_fit(X, strata, with_events(outcome, []))


def test_faults_of_the_outcome_are_named_together(cohort):
    X, strata, outcome = cohort
    duration, cause = outcome.duration.copy(), outcome.cause.copy()
    duration[3], cause[[5, 7]] = 0.0, 3
    with pytest.raises(InvalidInput) as refused:
        QUICK.cross_fit(X, strata, CompetingOutcome(duration, cause))
    assert [(p.field, p.rows, p.examples) for p in refused.value.problems] == [
        ("duration", 1, (4,)),
        ("cause", 2, (6, 8)),
    ]


def test_one_causes_times_are_censored_by_the_others():
    outcome = CompetingOutcome(np.array([3.0, 5.0, 7.0]), np.array([1, 2, 0]))
    relapse: Outcome = cause_specific(outcome, 1)
    assert relapse.duration.tolist() == [3.0, 5.0, 7.0]
    assert relapse.event.tolist() == [True, False, False]


def test_a_category_of_one_patient_does_not_stand_for_the_disease_that_has_it():
    """It is known in one disease alone, whose rate is another: the column would tell them apart."""
    rng = np.random.default_rng(7)
    X, strata, outcome = simulated(3, count=400)
    column = np.where(strata == 0, 0.0, np.nan)
    column[np.flatnonzero(strata == 0)[0]] = 1.0
    often = rng.random(400) < np.where(strata == 0, 0.9, 0.05)
    cause = np.where((outcome.cause == 2) & ~often, 0, outcome.cause)
    kept = np.flatnonzero((cause == 2) & (strata == 1))
    cause[kept[2:]] = 0  # too few events in the second disease to be fitted by itself
    rare = CompetingOutcome(outcome.duration, cause)
    model = QUICK.cross_fit(np.column_stack([X, column]), strata, rare).model
    assert model.hyperparameters["non_relapse_mortality_pooled_diseases"] == 2.0
    assert np.abs(model.coefficients[:, :, 2]).max() < 2.0
