"""Published scores as baselines: for whom they speak, and who gets the disease's own curve."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.censoring import Outcome
from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.endpoints import ENDPOINTS
from features.protocol import load_protocol
from features.scores import compute, load_score
from models.estimators.curves import kaplan_meier
from tests.models.outcomes import sample_outcome
from training.baselines import fit_kaplan_meier
from training.metrics import harrell_c
from training.published import (
    applicable_scores,
    concordance_of_points,
    fit_published_score,
    published_baselines,
)

TIMES = np.array([0.0, 6.0, 24.0, 48.0])
DISEASES = ("hodgkin_lymphoma", "dlbcl")
SURVIVAL = ENDPOINTS["overall_survival"]


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


def protocol(diseases=DISEASES):
    return replace(load_protocol("relapse-survival"), diseases=diseases)


@pytest.fixture(scope="module")
def made():
    cohort, outcome = lymphomas()
    return cohort, strata(cohort), outcome, compute(load_score("mskcc_hodgkin"), cohort).points


def test_a_score_applies_where_its_disease_and_enough_inputs_are_in_the_cohort(made):
    cohort = made[0]
    assert [scored.score.name for scored in applicable_scores(cohort, protocol())] == ["mskcc_hodgkin"]
    assert applicable_scores(cohort, protocol(("dlbcl",))) == ()
    assert applicable_scores(cohort.take(np.arange(60)), protocol()) == ()


def test_a_score_that_gives_everyone_the_same_points_does_not_apply(made):
    cohort, _, _, points = made
    assert applicable_scores(cohort.take(points == 1.0), protocol()) == ()


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


def test_the_raw_points_are_judged_by_concordance_within_the_disease(made):
    cohort, stratum, outcome, points = made
    (scored,) = applicable_scores(cohort, protocol())
    rows = (stratum == 0) & ~np.isnan(points)
    found = concordance_of_points(scored, cohort, outcome)
    assert found == {"hodgkin_lymphoma": harrell_c(points[rows], outcome.take(rows))}
    assert found["hodgkin_lymphoma"] > 0.6


def test_held_out_patients_are_answered_from_the_training_patients_alone(made):
    cohort, stratum, outcome, points = made
    train = np.arange(len(cohort)) % 3 > 0
    parts = cohort.take(train), cohort.take(~train)
    found = published_baselines(*parts, SURVIVAL, outcome.take(train), stratum[train], stratum[~train])
    assert list(found) == ["mskcc_hodgkin"]
    model = fit_published_score(points[train], stratum[train], outcome.take(train))
    expected = model.survival(points[~train], stratum[~train], TIMES)
    assert found["mskcc_hodgkin"](TIMES).shape == (int((~train).sum()), 1, len(TIMES))
    assert (found["mskcc_hodgkin"](TIMES)[:, 0] == expected).all()


def test_every_fold_has_the_same_scores(made):
    cohort, stratum, outcome, points = made
    scored = np.flatnonzero(~np.isnan(points))[:50]
    rest = np.flatnonzero(np.isnan(points))
    small, half = np.concatenate([scored, rest]), len(scored) // 2
    for test in (scored[:half], scored[half:]):
        train = np.setdiff1d(small, test)
        found = published_baselines(
            cohort.take(train),
            cohort.take(test),
            SURVIVAL,
            outcome.take(train),
            stratum[train],
            stratum[test],
        )
        assert list(found) == ["mskcc_hodgkin"]
        assert np.isfinite(found["mskcc_hodgkin"](TIMES)).all()


def test_response_and_competing_risks_have_no_published_baseline(made):
    cohort, stratum, *_ = made
    for name in ("response", "relapse_and_non_relapse_mortality"):
        assert published_baselines(cohort, cohort, ENDPOINTS[name], None, stratum, stratum) == {}
