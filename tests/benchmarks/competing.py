"""Competing risks on real transplants: python -m tests.benchmarks.competing [--json] [--repeats 3]

Relapse against non-relapse mortality after transplant for leukaemia outside first remission (recipe
cibmtr-leukaemia; the file is not part of the project: --data says where it lies). Every patient is predicted
by models that never saw them, in repeated cross-validation, by

competing          the project's model
aalen_johansen     the cumulative incidence of the patient's disease
cox                a ridge-penalised Cox model of each cause, a baseline for each disease
logistic           a multinomial logistic regression at each horizon, weighted against censoring

Figures by cause: the Brier score integrated over 2 to 60 months and at horizons, weighted by inverse
probability of censoring; and the time-dependent concordance of who has the event before whom, patients with
the other event never having it (Wolbers et al., Biostatistics 2014;15:526-539, at each event's own time).
``gain`` is the model's error less a baseline's with the standard error over patients.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, CompetingOutcome
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from models.estimators.competing import CAUSES, CrossFittedCompeting, cause_specific
from models.estimators.cox import RidgeCox
from models.estimators.curves import IntArray, step
from models.estimators.folds import stratified_folds
from models.estimators.ipcw import censoring_survival

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "cibmtr"
DISEASES = ("aml", "all_leukaemia")
PREDICTORS = (
    "disease", "age", "sex", "disease_status", "hct_ci", "karnofsky_group", "plan_conditioning", "plan_donor",
    "plan_graft",
)  # fmt: skip
TIMES = np.arange(2.0, 61.0, 2.0)
HORIZONS = np.array([12.0, 24.0, 60.0])
FOLDS = 5
OURS = "competing"

Incidence = Callable[[FloatArray, IntArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Patients:
    """Columns, disease and outcome of some patients."""

    X: FloatArray
    strata: IntArray
    outcome: CompetingOutcome


def ours(known: Patients) -> Incidence:
    return CrossFittedCompeting().cross_fit(known.X, known.strata, known.outcome).model.predict


def aalen_johansen(known: Patients) -> Incidence:
    """Return each disease's cumulative incidences; events at a tied time leave together."""
    by_disease = []
    for disease in range(len(DISEASES)):
        inside = known.strata == disease
        duration, cause = known.outcome.duration[inside], known.outcome.cause[inside]
        times = np.unique(duration[cause > 0])
        at_risk = (duration[:, None] >= times).sum(axis=0)
        hazard = np.stack(
            [((duration[:, None] == times) & (cause == k)[:, None]).sum(axis=0) for k in (1, 2)]
        )
        hazard = hazard / at_risk
        before = np.append(1.0, np.cumprod(1.0 - hazard.sum(axis=0)))[:-1]
        by_disease.append((times, np.cumsum(before * hazard, axis=1)))

    def incidence(X: FloatArray, strata: IntArray, at: FloatArray) -> FloatArray:
        curves = [[step(times, curve, at, before=0.0) for curve in both] for times, both in by_disease]
        return np.array(curves)[strata]

    return incidence


def cause_specific_cox(known: Patients) -> Incidence:
    """Return incidences from each cause's hazard, summed over the event times of training."""
    models = [RidgeCox().fit(known.X, known.strata, cause_specific(known.outcome, k)) for k in (1, 2)]
    moments = np.unique(known.outcome.duration[known.outcome.cause > 0])

    def incidence(X: FloatArray, strata: IntArray, at: FloatArray) -> FloatArray:
        whole = np.stack(
            [np.exp(model.log_cumulative_hazard(X, strata, moments)) for model in models], axis=1
        )
        rise = np.diff(whole, axis=2, prepend=0.0)
        total = rise.sum(axis=1)
        free = np.exp(-np.cumsum(total, axis=1))
        left = np.append(np.ones((len(X), 1)), free[:, :-1], axis=1) - free
        share = np.divide(rise, total[:, None], out=np.zeros_like(rise), where=total[:, None] > 0.0)
        gone = np.cumsum(share * left[:, None], axis=2)
        return np.pad(gone, ((0, 0), (0, 0), (1, 0)))[:, :, np.searchsorted(moments, at, side="right")]

    return incidence


def weighted_logistic(known: Patients) -> Incidence:
    """Return incidences at the horizons only, NaN at other times."""
    mean, scale = np.nanmean(known.X, axis=0), np.nanstd(known.X, axis=0)

    def design(X: FloatArray) -> FloatArray:
        return np.nan_to_num((X - mean) / scale, nan=0.0)

    models = {}
    for horizon in HORIZONS:
        state = np.where(known.outcome.duration <= horizon, known.outcome.cause, 0)
        weight = censoring_weights(known, np.array([horizon]))[:, 0]
        models[horizon] = LogisticRegression(C=0.1, max_iter=1000).fit(
            design(known.X)[weight > 0], state[weight > 0], sample_weight=weight[weight > 0]
        )

    def incidence(X: FloatArray, strata: IntArray, at: FloatArray) -> FloatArray:
        found = np.full((len(X), 2, len(at)), np.nan)
        for horizon, model in models.items():
            found[:, :, at == horizon] = model.predict_proba(design(X))[:, 1:, None]
        return found

    return incidence


METHODS: Mapping[str, Callable[[Patients], Incidence]] = {
    OURS: ours,
    "aalen_johansen": aalen_johansen,
    "cox": cause_specific_cox,
    "logistic": weighted_logistic,
}


def censoring_weights(patients: Patients, times: FloatArray) -> FloatArray:
    """Return inverse probabilities of censoring, shape (patients, times); 0 where the state is unknown."""
    outcome = patients.outcome.any_event()
    own = censoring_survival(outcome, outcome.duration, before=True)[:, None]
    at = censoring_survival(outcome, times, before=False)
    gone = (outcome.duration[:, None] <= times) & outcome.event[:, None]
    here = outcome.duration[:, None] > times
    return np.where(gone, 1.0 / own, 0.0) + np.where(here, 1.0 / at, 0.0)


def errors(incidence: FloatArray, patients: Patients, times: FloatArray, cause: int) -> FloatArray:
    """Return each patient's weighted squared error at each time; incidence has shape (patients, times)."""
    happened = (patients.outcome.duration[:, None] <= times) & (patients.outcome.cause == cause)[:, None]
    return censoring_weights(patients, times) * (happened - incidence) ** 2


def concordance(incidence: FloatArray, patients: Patients, cause: int) -> float:
    """Return how often who has the event had the higher incidence, at that event's time, up to 60 months."""
    duration, kind = patients.outcome.duration, patients.outcome.cause
    outcome = patients.outcome.any_event()
    just_before = censoring_survival(outcome, duration, before=True)
    at_own = censoring_survival(outcome, duration, before=False)
    won = usable = 0.0
    for row in np.flatnonzero((kind == cause) & (duration <= TIMES[-1])):
        marker = incidence[:, np.searchsorted(TIMES, duration[row])]
        later = (duration > duration[row]) | ((duration == duration[row]) & (kind == 0))
        other = (duration <= duration[row]) & (kind > 0) & (kind != cause)
        weight = (later / at_own[row] + other / just_before) / just_before[row]
        won += float(weight @ ((marker < marker[row]) + 0.5 * (marker == marker[row])))
        usable += float(weight.sum())
    return won / usable


def held_out(cohort: Cohort, everyone: Patients, seed: int) -> dict[str, FloatArray]:
    """Return each method's incidences, shape (patients, causes, times), by models that never saw them."""
    fold = stratified_folds(
        everyone.outcome.cause * len(DISEASES) + everyone.strata,
        everyone.outcome.any_event(),
        folds=FOLDS,
        seed=seed,
    )
    found = {name: np.empty((len(fold), 2, len(TIMES))) for name in METHODS}
    for out in range(FOLDS):
        train, test = np.flatnonzero(fold != out), np.flatnonzero(fold == out)
        encoder = Encoder.fit(cohort.take(train), predictors=PREDICTORS)
        X = encoder.encode(cohort)
        known = Patients(X[train], everyone.strata[train], everyone.outcome.take(train))
        for name, fit in METHODS.items():
            found[name][test] = fit(known)(X[test], everyone.strata[test], TIMES)
    return found


def figures(repeats: int, data: Path) -> dict[str, object]:
    """Return every figure: means over the repeats of cross-validation, and the gains over the baselines."""
    whole = build_cohort(load_recipe("cibmtr-leukaemia"), source=data)
    blank = np.isnan(whole.values["months_progression_free"]) | np.isnan(whole.values["first_event"])
    cohort = whole.take(np.flatnonzero(~blank))
    disease = np.array([DISEASES.index(str(name)) for name in cohort.text("disease")])
    everyone = Patients(np.empty(0), disease, ENDPOINTS["relapse_and_non_relapse_mortality"].read(cohort))
    predicted = [held_out(cohort, everyone, seed) for seed in range(repeats)]
    result: dict[str, object] = {
        "patients": len(cohort),
        "without_outcome": int(blank.sum()),
        "events": np.bincount(everyone.outcome.cause)[1:].tolist(),
        "repeats": repeats,
    }
    for number, cause in enumerate(CAUSES, start=1):
        squared = {
            name: np.mean(
                [errors(p[name][:, number - 1], everyone, TIMES, number) for p in predicted], axis=0
            )
            for name in METHODS
        }
        for name, error in squared.items():
            scores = {f"brier_{h:g}": error[:, np.isclose(TIMES, h)].mean() for h in HORIZONS}
            if name != "logistic":
                ranked = [concordance(p[name][:, number - 1], everyone, number) for p in predicted]
                scores |= {"integrated_brier": over_time(error).mean(), "concordance": np.mean(ranked)}
                scores["concordance_sd_over_repeats"] = np.std(ranked)
            result[f"{cause}.{name}"] = {key: round(float(value), 5) for key, value in scores.items()}
        for name in ("aalen_johansen", "cox"):
            gain = over_time(squared[OURS]) - over_time(squared[name])
            result[f"{cause}.gain_over_{name}"] = {
                "integrated_brier": round(float(gain.mean()), 5),
                "standard_error": round(float(gain.std() / np.sqrt(len(gain))), 5),
            }
    return result


def over_time(error: FloatArray) -> FloatArray:
    """Return each patient's error averaged over the times' span."""
    return np.trapezoid(error, TIMES, axis=1) / (TIMES[-1] - TIMES[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(json.dumps(figures(options.repeats, options.data), indent=None if options.json else 1))  # noqa: T201
