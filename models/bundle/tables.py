"""A bundle for tables of patients: probabilities at the horizons, and curves, for many patients at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.cohort import PATIENT, Cohort
from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.answer.curves import monotone
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle
from models.estimators.interface import NO_TIME


def score_table(bundle: ModelBundle, patients: pd.DataFrame) -> pd.DataFrame:
    """Return one column an outcome and horizon, a row a patient; NaN beyond the disease's follow-up.

    ``patients`` has the dictionary's fields as columns; those it lacks are unknown.

    Raises:
        InvalidCohort: naming every value outside the dictionary, with the rows.

    """
    cohort = _cohort(bundle, patients)
    return pd.DataFrame(score_cohort(bundle, cohort), columns=list(score_names(bundle)), index=patients.index)


def curves(
    bundle: ModelBundle, patients: pd.DataFrame, *, outcome: str, months: Sequence[float]
) -> pd.DataFrame:
    """Return an outcome's probability at each of ``months``, a row a patient; NaN beyond the follow-up.

    ``curves(...).T.plot()`` draws them.

    Raises:
        InvalidCohort: as :func:`score_table`.
        InvalidInput: when no endpoint with time has this outcome.

    """
    endpoint = next((e for e in bundle.endpoints if e.endpoint.timed and outcome in e.model.outcomes), None)
    if endpoint is None:
        timed = [name for e in bundle.endpoints if e.endpoint.timed for name in e.model.outcomes]
        problem = Problem("outcome", f"{outcome} is no outcome with a curve", "use " + ", ".join(timed))
        raise InvalidInput("curves", [problem])
    cohort, at = _cohort(bundle, patients), np.unique(np.asarray(months, dtype=np.float64))
    place = endpoint.model.outcomes.index(outcome)
    drawn = monotone(_supported(bundle, endpoint, cohort, at)[:, place], falling=endpoint.endpoint.falls)
    return pd.DataFrame(drawn, columns=at, index=patients.index)


def score_names(bundle: ModelBundle) -> tuple[str, ...]:
    """Return the name of each column of :func:`score_cohort`."""
    return tuple(
        f"{outcome}_{horizon:g}_months" if e.endpoint.timed else outcome
        for e in bundle.endpoints
        for outcome in e.model.outcomes
        for horizon in (bundle.protocol.horizons if e.endpoint.timed else (0.0,))
    )


def score_cohort(bundle: ModelBundle, cohort: Cohort) -> FloatArray:
    """Return probabilities at the protocol's horizons, (patients, answers), NaN beyond follow-up."""
    horizons = np.array(bundle.protocol.horizons)
    each = [
        _supported(bundle, e, cohort, horizons if e.endpoint.timed else NO_TIME) for e in bundle.endpoints
    ]
    return np.hstack([probability.reshape(len(cohort), -1) for probability in each])


def _supported(
    bundle: ModelBundle, endpoint: FittedEndpoint, cohort: Cohort, times: FloatArray
) -> FloatArray:
    """Return probabilities (patients, outcomes, times), NaN where the patient's disease was not followed."""
    strata = bundle.strata(cohort)
    probability = bundle.probabilities(cohort, endpoint.endpoint.name, times)
    if not endpoint.endpoint.timed:
        return probability
    limits = np.array([endpoint.supported[disease] for disease in bundle.protocol.diseases])[strata]
    return np.where(times <= limits[:, None, None], probability, np.nan)


def _cohort(bundle: ModelBundle, patients: pd.DataFrame) -> Cohort:
    table = patients.reindex(columns=list(bundle.dictionary.names)).reset_index(drop=True)
    table[PATIENT] = [str(row) for row in range(len(table))]
    return Cohort.from_frame(table, dictionary=bundle.dictionary)
