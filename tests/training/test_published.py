"""Published scores as baselines: for whom they speak, and who gets the disease's own curve."""

import numpy as np
import pandas as pd
import pytest

from features.censoring import Outcome
from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.scores import compute, load_score
from models.estimators.curves import kaplan_meier
from tests.models.outcomes import sample_outcome
from training.baselines.survival import fit_kaplan_meier
from training.published import fit_published_score, predict_by_published_scores
from training.sample import Sample

TIMES = np.array([0.0, 6.0, 24.0, 48.0])
DISEASES = ("hodgkin_lymphoma", "dlbcl")


def lymphomas(patients=400, *, seed=1, known=0.9):
    """Return made patients; in Hodgkin lymphoma the hazard doubles with each point of the MSKCC model."""
    rng = np.random.default_rng(seed)
    hodgkin = rng.random(patients) < 0.6
    flags = rng.random((3, patients)) < 0.4
    frame = pd.DataFrame(
        {
            "patient": [f"p{at}" for at in range(patients)],
            "disease": np.where(hodgkin, *DISEASES),
            "b_symptoms": np.where(rng.random(patients) < known, flags[0], None),
            "extranodal_disease": flags[1],
            "disease_status": np.where(flags[2], "refractory", "late_relapse"),
            "months_of_response": np.where(flags[2], None, 20.0),
        }
    )
    dictionary = load_dictionary().slice(tuple(name for name in frame if name != "patient"))
    outcome = sample_outcome(rng, 0.015 * np.where(hodgkin, 2.0 ** flags.sum(axis=0), 2.0))
    return Cohort.from_frame(frame, dictionary=dictionary), outcome


def strata(cohort):
    return np.array([DISEASES.index(disease) for disease in cohort.text("disease")])


@pytest.fixture(scope="module")
def made():
    cohort, outcome = lymphomas()
    return cohort, strata(cohort), outcome, compute(load_score("mskcc_hodgkin"), cohort).points


def names(cohort, outcome):
    """Return the scores that predict one half of the patients from the other half."""
    half = np.arange(len(cohort)) % 2 == 0
    return set(predict(cohort, outcome, half, ~half))


def predict(cohort, outcome, train, test):
    samples = (
        Sample(part, np.zeros((len(part), 0)), strata(part)) for part in map(cohort.take, (train, test))
    )
    return predict_by_published_scores(*samples, outcome.take(train), TIMES)


def test_a_score_applies_where_its_disease_and_enough_inputs_are_in_the_cohort(made):
    cohort, stratum, outcome, _ = made
    few, other = np.arange(60), np.flatnonzero(stratum == 1)
    assert names(cohort, outcome) == {"mskcc_hodgkin"}
    assert names(cohort.take(few), outcome.take(few)) == set()
    assert names(cohort.take(other), outcome.take(other)) == set()


def test_a_score_that_gives_everyone_the_same_points_does_not_apply(made):
    cohort, _, outcome, points = made
    assert names(cohort.take(points == 1.0), outcome.take(points == 1.0)) == set()


def test_patients_without_points_get_the_curve_of_their_disease(made):
    _, stratum, outcome, points = made
    survival = fit_published_score(points, stratum, outcome).survival(points, stratum, TIMES)
    alone = fit_kaplan_meier(points[:, None], stratum, outcome).survival(points[:, None], stratum, TIMES)
    unscored = np.isnan(points)
    assert (unscored & (stratum == 0)).sum() > 10
    assert (stratum[~unscored] == 0).all()
    assert (survival[unscored] == alone[unscored]).all()
    assert (survival[~unscored, 2] != alone[~unscored, 2]).all()


def test_survival_is_fitted_again_on_the_points(made):
    _, stratum, outcome, points = made
    model = fit_published_score(points, stratum, outcome)
    levels = np.arange(4.0)
    fitted = model.survival(levels, np.zeros(4, dtype=int), TIMES)
    assert (np.diff(fitted[:, 1:], axis=0) < 0.0).all()
    truth = np.exp(-np.outer(0.015 * 2.0**levels, TIMES))
    np.testing.assert_allclose(fitted, truth, atol=0.1)
    times, curve = kaplan_meier(outcome.take(points == 1.0))
    assert fitted[1, 2] == pytest.approx(curve[times <= TIMES[2]][-1], abs=0.08)


def test_a_disease_with_few_scored_deaths_keeps_its_own_curve(made):
    _, stratum, outcome, points = made
    scored = np.flatnonzero(~np.isnan(points))
    few = Outcome(outcome.duration, outcome.event & ~np.isin(np.arange(len(points)), scored[9:]))
    model = fit_published_score(points, stratum, few)
    assert model.by_points == {}


def test_held_out_patients_are_answered_from_the_training_patients_alone(made):
    cohort, stratum, outcome, points = made
    train = np.arange(len(cohort)) % 3 > 0
    found = predict(cohort, outcome, train, ~train)
    assert list(found) == ["mskcc_hodgkin"]
    model = fit_published_score(points[train], stratum[train], outcome.take(train))
    expected = model.survival(points[~train], stratum[~train], TIMES)
    assert found["mskcc_hodgkin"].shape == (int((~train).sum()), 1, len(TIMES))
    assert (found["mskcc_hodgkin"][:, 0] == expected).all()


def test_every_fold_has_the_same_scores(made):
    cohort, _, outcome, points = made
    scored = np.flatnonzero(~np.isnan(points))[:50]
    rest = np.flatnonzero(np.isnan(points))
    small, half = np.concatenate([scored, rest]), len(scored) // 2
    for test in (scored[:half], scored[half:]):
        train = np.setdiff1d(small, test)
        found = predict(cohort, outcome, train, test)
        assert list(found) == ["mskcc_hodgkin"]
        assert np.isfinite(found["mskcc_hodgkin"]).all()
