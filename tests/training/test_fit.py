"""Fitting: what goes into a bundle, and from whom."""

import numpy as np
import pytest

from features.eligibility import Attrition
from features.endpoints import overall_survival
from models.estimators.curves import supported_until
from tests.lib.fitting import PLAN
from tests.lib.patients import protocol
from training.fit import fit_models, read_outcomes
from training.plan import TrainingPlan


def test_the_background_is_made_of_training_patients(bundle, cohort):
    X, strata = bundle.completion.complete_cohort(cohort).one_each(), bundle.strata(cohort)
    known = {(row.tobytes(), int(s)) for row, s in zip(np.nan_to_num(X, nan=-9.0), strata, strict=True)}
    background = bundle.endpoints[0].background
    for at in range(len(protocol().diseases)):
        assert len(background.of(at)) <= PLAN.background + 2 * len(protocol().horizons) + 1
        assert background.of(at).weights.sum() == pytest.approx(1.0)
        assert background.shares[at] == (strata == at).mean()
    assert (background.weights > 0.0).all()
    for row, stratum in zip(np.nan_to_num(background.X, nan=-9.0), background.strata, strict=True):
        assert (row.tobytes(), int(stratum)) in known


def test_each_diseases_background_has_the_mean_prediction_of_its_patients_at_every_horizon(bundle, cohort):
    at, model, strata = np.array(protocol().horizons), bundle.endpoints[0].model, bundle.strata(cohort)
    rows = bundle.completion.complete_cohort(cohort).one_each()
    answered = bundle.probabilities(cohort, "overall_survival", at)[:, 0]
    for stratum in range(len(protocol().diseases)):
        own, background = strata == stratum, bundle.endpoints[0].background.of(stratum)
        weighted = background.weights @ model.predict(background.X, background.strata, at)[:, 0]
        theirs = model.predict(rows[own], strata[own], at)[:, 0].mean(axis=0)
        np.testing.assert_allclose(weighted, theirs, atol=1e-8)
        np.testing.assert_allclose(weighted, answered[own].mean(axis=0), atol=0.01)


def test_follow_up_is_supported_by_each_diseases_own_patients(bundle, cohort):
    outcome, strata = overall_survival(cohort), bundle.strata(cohort)
    for at, disease in enumerate(protocol().diseases):
        assert bundle.endpoints[0].supported[disease] == supported_until(
            outcome.take(strata == at), at_risk=10
        )


def test_the_bundle_knows_only_the_protocols_predictors(bundle, cohort):
    assert bundle.dictionary.names == protocol().predictors
    assert "died" in cohort.dictionary
    assert "died" not in bundle.dictionary


def test_the_encoding_is_learned_from_the_patients_given(cohort):
    women = cohort.take(cohort.values["sex"] == 0.0)
    fitted = fit_models(women, read_outcomes(women, protocol()), protocol=protocol(), plan=PLAN)
    assert not any(column.predictor == "sex" for column in fitted.encoder.columns)


def test_a_cohort_with_any_made_part_is_synthetic(cohort):
    assert cohort.provenance[0].attrition == Attrition(400)
    assert cohort.evidence == "synthetic"


def test_a_plans_settings_are_what_is_logged():
    assert TrainingPlan(seed=5).as_dict() == {
        "seed": 5,
        "evaluation_folds": 5,
        "inner_folds": 5,
        "repeats": 1,
        "bootstrap": 200,
        "background": 64,
        "smallest_at_risk": 10,
        "trials": 1,
    }
