"""Support: a cohort that is followed too short is refused before any work, or noted and answered in part."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.errors import InvalidCohort
from models.registry.settings import RegistrySettings
from tests.lib.fitting import PLAN
from tests.lib.patients import protocol, simulated_cohort
from tests.models.registry.noise import NOISE
from training.external import evaluate_registered
from training.fit import read_outcomes
from training.run import train
from training.support import require_support

pytestmark = NOISE


class Fitted(Exception):
    """Somebody began to fit."""


class Refusing:
    """Workers that must not be asked."""

    def start(self, function, *args, **kwargs):
        raise Fitted


def followed(cohort, months, *, disease="breast_cancer"):
    """Return the cohort with one disease, or all, cut off after so many months."""
    concerned = np.array([disease in (d, None) for d in cohort.text("disease")])
    late = concerned & (cohort.values["months_followed"] > months)
    values = dict(cohort.values)
    values["died"] = np.where(late, 0.0, values["died"])
    values["months_followed"] = np.where(late, months, values["months_followed"])
    return replace(cohort, values=values)


def notes(cohort):
    outcomes = read_outcomes(cohort, protocol())
    return require_support(cohort, outcomes, protocol=protocol(), at_risk=PLAN.smallest_at_risk)


def test_a_disease_that_reaches_no_horizon_is_refused_before_anything_is_fitted(cohort, tmp_path):
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path / "home")})
    with pytest.raises(InvalidCohort) as refused:
        train(followed(cohort, 10.0), protocol=protocol(), plan=PLAN, settings=settings, workers=Refusing())
    (problem,) = refused.value.problems
    assert problem.field == "breast_cancer"
    assert "overall survival until month 10.0 by 10 patients" in problem.problem
    assert "the first horizon is 12 months" in problem.remedy
    assert not (tmp_path / "home").exists()


def test_every_disease_that_is_too_short_is_named_at_once(cohort):
    with pytest.raises(InvalidCohort) as refused:
        notes(followed(cohort, 10.0, disease=None))
    assert [problem.field for problem in refused.value.problems] == list(protocol().diseases)


def test_horizons_that_a_disease_does_not_reach_are_noted(cohort):
    colorectal = (
        "overall survival, colorectal cancer: 10 patients are followed until month 39.8, so 60 months are "
        "not answered"
    )
    assert notes(cohort) == (colorectal,)
    assert notes(followed(cohort, 30.0)) == (
        "overall survival, breast cancer: 10 patients are followed until month 30.0, so 36, 60 months are "
        "not answered",
        colorectal,
    )


def test_a_cohort_that_reaches_some_horizons_is_fitted_judged_and_registered(tmp_path):
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path)})
    warned = []
    registered = train(
        followed(simulated_cohort(250, seed=5), 13.0),
        protocol=protocol(),
        plan=PLAN,
        settings=settings,
        report_warning=warned.append,
    )
    assert any("24, 36, 60 months are not answered" in warning for warning in warned)
    breast = registered.evaluation.leading.by_group["breast_cancer"]["model"]
    assert breast["ici_12"].value is not None
    assert breast["ici_24"].value is None
    json.dumps(registered.as_dict(), allow_nan=False)


def test_a_model_is_scored_on_a_short_cohort_as_far_as_it_is_followed(trained):
    short = followed(simulated_cohort(300, seed=11), 10.0, disease=None)
    name = "salvage-relapse-survival-synthetic"
    found = evaluate_registered(name, "2", read=lambda _: short, settings=trained.settings, plan=PLAN)
    scores = found.endpoints["overall_survival"]["all"]
    assert scores["scored_until"].value == 10.0
    assert scores["uno_c"].value is not None
    late = [estimate for metric, estimate in scores.items() if metric.endswith(("_12", "_24", "_36", "_60"))]
    assert len(late) == 16
    assert all(estimate.value is None and "10.0 months" in estimate.reason for estimate in late)
