"""Evaluation: nobody is predicted by a model that saw them, and every number is the metric's own."""

import json

import numpy as np
import pytest

from features.censoring import Outcome, restrict
from features.endpoints import COMPLEMENTARY_LOG_LOG, ENDPOINTS, overall_survival
from models.bundle.bundle import strata
from models.estimators.ipcw import integrated_brier
from tests.lib.fitting import PLAN
from tests.lib.patients import protocol
from training import metrics
from training.baselines.survival import COX, KAPLAN_MEIER, fit_kaplan_meier
from training.evaluate import HeldOut, evaluate, predict_held_out, scored_times
from training.fit import fit_models
from training.goodness_of_fit import a_calibration, d_calibration
from training.scoring import MODEL
from training.smooth_calibration import SmoothCalibration
from training.split import split_by_patient
from training.status import Status

SURVIVAL = "overall_survival"


@pytest.fixture(scope="module")
def leading(evaluation):
    return evaluation.leading


@pytest.fixture(scope="module")
def split(cohort):
    stratum = strata(cohort, protocol().diseases)
    return split_by_patient(stratum, overall_survival(cohort), folds=PLAN.evaluation_folds, seed=PLAN.seed)


def test_curves_are_scored_every_second_month_and_at_every_horizon():
    times = scored_times(protocol(), ENDPOINTS[SURVIVAL])
    assert set(protocol().horizons) <= set(times)
    assert times[-1] == 60.0
    assert times[0] == 2.0
    assert (np.diff(times) > 0).all()


def test_held_out_curves_do_not_depend_on_the_patients_own_outcome(cohort, leading, split):
    first = split.fold == 0
    outcome = overall_survival(cohort)
    rng = np.random.default_rng(1)
    invented = Outcome(
        np.where(first, rng.uniform(1.0, 100.0, len(cohort)), outcome.duration),
        np.where(first, rng.random(len(cohort)) < 0.5, outcome.event),
    )
    made = {SURVIVAL: invented}
    held_out = predict_held_out(cohort, made, split, protocol=protocol(), plan=PLAN)[SURVIVAL]
    for name in (MODEL, COX, KAPLAN_MEIER):
        before, after = leading.held_out.curves[name], held_out.curves[name]
        np.testing.assert_array_equal(after[first], before[first])
        assert (after[~first] != before[~first]).any()


def test_held_out_curves_are_those_of_a_fit_on_the_others(cohort, leading, split):
    train, test = split.parts()[1]
    outcome, stratum, times = (
        overall_survival(cohort),
        strata(cohort, protocol().diseases),
        leading.held_out.times,
    )
    known = {SURVIVAL: outcome.take(train)}
    fitted = fit_models(cohort.take(train), known, protocol=protocol(), plan=PLAN)
    X, model = fitted.encoder.encode(cohort.take(test)), fitted.endpoints[SURVIVAL].model
    rows = fitted.completion.complete_cohort(cohort.take(test))
    expected = rows.mean(model.predict(rows.X, rows.strata(stratum[test]), times))[:, 0]
    np.testing.assert_array_equal(leading.held_out.curves[MODEL][test], expected)
    as_left_out = model.predict(X, stratum[test], times)[:, 0]
    changed, incomplete = (as_left_out != expected).any(axis=1), rows.unknown.any(axis=1)
    assert changed[incomplete].any(), "unknown values are averaged over"
    assert not changed[~incomplete].all(), "complete patients are not"
    km = fit_kaplan_meier(fitted.encoder.encode(cohort.take(train)), stratum[train], outcome.take(train))
    np.testing.assert_array_equal(
        leading.held_out.curves[KAPLAN_MEIER][test], km.survival(X, stratum[test], times)
    )


def test_each_fold_is_announced_when_it_is_done(cohort, split):
    done = []
    predict_held_out(
        cohort,
        {SURVIVAL: overall_survival(cohort)},
        split,
        protocol=protocol(),
        plan=PLAN,
        advance=done.append,
    )
    assert done == list(range(1, PLAN.evaluation_folds + 1))


@pytest.mark.parametrize("group", ["all", "breast_cancer", "colorectal_cancer"])
@pytest.mark.parametrize("name", [MODEL, COX, KAPLAN_MEIER])
def test_every_estimate_is_the_metric_of_the_groups_held_out_curves(leading, group, name):
    held_out = leading.held_out
    rows = np.ones(len(held_out.strata), dtype=bool)
    if group != "all":
        rows = held_out.strata == protocol().diseases.index(group)
    curves, outcome, times = held_out.curves[name][rows], held_out.outcome.take(rows), held_out.times
    risk = metrics.restricted_mean_risk(curves, times)
    found = leading.by_group[group][name]
    assert found["harrell_c"].value == metrics.harrell_c(risk, outcome)
    assert found["uno_c"].value == metrics.uno_c(risk, outcome, until=60.0)
    assert found["integrated_brier"].value == integrated_brier(curves, outcome, times).mean()
    expected = 1.0 - curves[:, int(np.flatnonzero(times == 24.0)[0])]
    status = Status.by(outcome, horizon=24.0)
    fit = SmoothCalibration.fit(expected, status, link=COMPLEMENTARY_LOG_LOG)
    assert found["ici_24"].value == np.abs(fit.observed - expected).mean()
    ratio = metrics.observed_risk(outcome, 24.0) / expected.mean()
    assert found["observed_to_expected_24"].value == pytest.approx(ratio, abs=1e-12)
    assert found["a_calibration"].value == a_calibration(curves, outcome, times).p
    assert found["d_calibration"].value == d_calibration(curves, outcome, times).p
    assert found["scored_until"].value == 60.0


def test_intervals_surround_their_estimates_and_tests_have_none(leading):
    for models in leading.by_group.values():
        for name, by_metric in models.items():
            for metric, estimate in by_metric.items():
                if metric in ("a_calibration", "d_calibration", "scored_until"):
                    assert estimate.low is estimate.high is None
                elif estimate.value is None:
                    assert metric.endswith("_60")  # few patients survive so long
                    assert estimate.reason.endswith("known to be without it, fewer than 10")
                elif name == KAPLAN_MEIER and metric.endswith("_c"):
                    continue  # ties by fold make the interval of a constant curve's concordance arbitrary
                else:
                    assert estimate.low < estimate.high
                    assert estimate.low - 0.05 < estimate.value < estimate.high + 0.05


def test_kaplan_meier_barely_orders_patients_within_a_disease(leading):
    for disease in protocol().diseases:
        by_model = leading.by_group[disease]
        assert by_model[KAPLAN_MEIER]["harrell_c"].value == pytest.approx(0.5, abs=0.05)
    breast = leading.by_group["breast_cancer"]
    assert breast[MODEL]["harrell_c"].value > breast[KAPLAN_MEIER]["harrell_c"].value + 0.05


def test_each_group_is_calibrated_at_each_horizon(leading):
    assert set(leading.calibrations) == {"all", *protocol().diseases}
    for group, fits in leading.calibrations.items():
        assert tuple(fit.horizon for fit in fits.values()) == protocol().horizons
        assert set(fits) <= set(leading.by_group[group][MODEL])


def test_the_result_is_plain_json(leading):
    stored = json.loads(json.dumps(leading.as_dict(), allow_nan=False))
    assert stored["all"]["model"]["a_calibration"]["low"] is None
    assert set(stored) == {"all", *protocol().diseases}


def test_nothing_is_scored_or_drawn_beyond_the_months_that_patients_are_followed(leading):
    everyone = leading.held_out
    seen = restrict(everyone.outcome, horizon=30.0)
    short = HeldOut(everyone.endpoint, everyone.times, everyone.predictions, everyone.strata, seen)
    (found,) = evaluate({SURVIVAL: short}, protocol=protocol(), plan=PLAN).endpoints.values()
    for group, by_model in found.by_group.items():
        for scores in by_model.values():
            assert scores["scored_until"].value == 30.0
            assert scores["ici_24"].value is not None
            for metric in ("ici", "e50", "e90", "observed_to_expected"):
                for horizon in ("36", "60"):
                    missing = scores[f"{metric}_{horizon}"]
                    assert (missing.value, missing.low, missing.high) == (None, None, None)
                    assert missing.reason == "fewer than 10% of patients are followed beyond 30.0 months"
        assert set(found.calibrations[group]) == {"ici_12", "ici_24"}
    assert all(group.times[-1] == 30.0 for group in short.risk_groups)
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert "beyond 30.0 months" in stored["all"]["model"]["ici_60"]["reason"]


def test_everyone_together_is_not_scored_where_a_disease_is_no_longer_followed(leading):
    everyone = leading.held_out
    breast = everyone.strata == protocol().diseases.index("breast_cancer")
    seen = restrict(everyone.outcome, horizon=30.0)
    mixed = Outcome(
        np.where(breast, seen.duration, everyone.outcome.duration),
        np.where(breast, seen.event, everyone.outcome.event),
    )
    short = HeldOut(everyone.endpoint, everyone.times, everyone.predictions, everyone.strata, mixed)
    (found,) = evaluate({SURVIVAL: short}, protocol=protocol(), plan=PLAN).endpoints.values()
    reached = {group: by_model[MODEL]["scored_until"].value for group, by_model in found.by_group.items()}
    assert reached == {"all": 30.0, "breast_cancer": 30.0, "colorectal_cancer": 60.0}
