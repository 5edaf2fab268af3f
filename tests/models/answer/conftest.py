"""The small bundle with endpoints of every kind, and one whose model is explained by sampling."""

from dataclasses import replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import FloatArray
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
from models.patient.completion import Completions
from models.uncertainty.intervals import Intervals

ROWS = 12
HIDDEN = {
    "oestrogen_receptor": [1, 3, 5],
    "tumour_grade": [2, 3, 6],
    "age": [3, 7],
    "positive_lymph_nodes": [3, 8],
    "prior_chemotherapy": [3, 7, 9],
}


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
    patients, strata, link = (
        bundle.completion.complete_cohort(cohort),
        bundle.strata(cohort),
        LINKS[declared.link],
    )
    times = np.array(leading.horizons) if declared.timed else NO_TIME
    shape = len(bundle.protocol.diseases), len(model.outcomes), len(times)
    endpoint = replace(
        leading,
        endpoint=declared,
        model=model,
        background=fit_background(model, link, patients, strata, times, size=20),
        intervals=Intervals(
            link=link,
            means=leading.intervals.means,
            scales=leading.intervals.scales,
            times=times,
            errors=np.full(shape, 0.3),
            centres=np.zeros(shape),
            spreads=np.ones(shape),
            inflation=np.ones(shape[:2]),
        ),
        supported=leading.supported if declared.timed else {},
        bounds=leading.bounds if declared.falls else None,
    )
    endpoint.check(columns=patients.X.shape[1], diseases=bundle.protocol.diseases)
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
def hidden(bundle: ModelBundle, cohort: Cohort) -> tuple[Completions, FloatArray]:
    """Twelve patients of the first disease, of whom nothing, a number, a category or several are unknown.

    Completed, and encoded as they are.
    """
    disease, encoder = bundle.protocol.diseases[0], bundle.encoder
    places = np.flatnonzero([named == disease for named in cohort.text("disease")])[:ROWS]
    own = cohort.take(places)
    values = {name: column.copy() for name, column in own.values.items()}
    for name, rows in HIDDEN.items():
        values[name][rows] = np.nan
    own = replace(own, values=values)
    X, Z = encoder.encode(own), bundle.completion.cohort_scores(own, disease)
    return bundle.completion.complete(Z, X, disease), X
