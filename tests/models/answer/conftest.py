"""The small bundle with endpoints of every kind, and one whose model is explained by sampling."""

from dataclasses import replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.endpoints import ENDPOINTS, overall_survival
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle
from models.estimators.additive import AdditiveModel
from models.estimators.competing import CAUSES, join_causes
from models.estimators.interface import NO_TIME, Model
from models.estimators.links import LINKS
from models.estimators.transforms import NestedOdds
from models.estimators.xgboost_aft import XGBoostAFT
from models.explanation.background import fit_background
from models.patient.next_tests import Information
from models.uncertainty.intervals import Intervals


def competing(leading: AdditiveModel) -> AdditiveModel:
    """Return two causes with the trees of survival."""
    rarer = replace(leading, base=leading.base - 1.0)
    return join_causes([leading, rarer], CAUSES).tabulated()


def responses(leading: AdditiveModel) -> AdditiveModel:
    """Return two nested responses without trees."""
    rng, (strata, columns) = np.random.default_rng(1), leading.means.shape
    return AdditiveModel(
        outcomes=("complete_response", "overall_response"),
        transform=NestedOdds(2),
        base=rng.normal(size=(strata, 2)),
        means=leading.means,
        coefficients=rng.normal(0.0, 0.1, (strata, 2, columns)),
        trees=None,
        stretch=np.ones(2),
        shift=np.zeros(2),
        penalties=np.zeros(2),
    )


def fitted(bundle: ModelBundle, cohort: Cohort, name: str, model: Model) -> FittedEndpoint:
    """Return an endpoint with this model, its own background and intervals that reach equally far."""
    leading, declared = bundle.endpoints[0], ENDPOINTS[name]
    X, strata, link = bundle.encoder.encode(cohort), bundle.strata(cohort), LINKS[declared.link]
    times = np.array(leading.horizons) if declared.timed else NO_TIME
    errors = np.full(len(model.outcomes), 0.3)
    endpoint = replace(
        leading,
        endpoint=declared,
        model=model,
        background=fit_background(model, link, X, strata, times, size=20),
        intervals=Intervals(
            link, leading.intervals.means, leading.intervals.scales, errors, np.ones(len(errors))
        ),
        supported=leading.supported if declared.timed else {},
        bounds=leading.bounds if declared.falls else None,
    )
    endpoint.check(columns=X.shape[1], diseases=bundle.protocol.diseases)
    return endpoint


@pytest.fixture(scope="session")
def several(bundle: ModelBundle, cohort: Cohort) -> ModelBundle:
    """Survival, competing risks and responses."""
    (leading,) = bundle.endpoints
    models = {"relapse_and_non_relapse_mortality": competing, "response": responses}
    others = (fitted(bundle, cohort, name, make(leading.model)) for name, make in models.items())
    return replace(bundle, endpoints=(leading, *others))


@pytest.fixture(scope="session")
def sampled(bundle: ModelBundle, cohort: Cohort) -> ModelBundle:
    """Survival by accelerated failure times, which are explained by sampling."""
    X, strata = bundle.encoder.encode(cohort), bundle.strata(cohort)
    how = XGBoostAFT(outcomes=("overall_survival",), rounds=10)
    model = how.fit(X, strata, overall_survival(cohort))
    endpoint = replace(fitted(bundle, cohort, "overall_survival", model), estimator=how.type)
    return replace(bundle, endpoints=(endpoint,))


@pytest.fixture(scope="session")
def information(bundle: ModelBundle, cohort: Cohort) -> Information:
    """What results may be of three predictors, as if tests at the index date found them out."""
    tests, study = ("positive_lymph_nodes", "tumour_grade", "prior_chemotherapy"), bundle.protocol
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.patient.next_tests.is_test", lambda declared: declared.name in tests)
        return Information.fit(cohort, bundle.encoder, study.predictors, study.diseases)
