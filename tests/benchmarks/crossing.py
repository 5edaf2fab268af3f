"""Endpoints that contradict one another: python -m tests.benchmarks.crossing [--json] [--patients N]

Every protocol with several endpoints is fitted to its real cohort (``salvage`` to simulated patients),
and made patients, who mix the values of others of their disease, one in five not known, are answered every
month up to the end of follow-up. By protocol: ``crossed``, the patients whose survival free of fewer events
lies anywhere below that free of more, or whose incidences and event-free survival do not sum to one; and
``crossed_alone`` and ``points_alone``, how many would and by how many percentage points at most if each
endpoint answered by itself. Cohorts that are not at hand are named in ``absent``.
"""

import argparse
import json

import numpy as np

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.protocol import StudyProtocol, load_protocol
from features.simulation.simulate import simulate
from models.answer.coherence import AT_LEAST, EQUAL, event_free, relations
from models.bundle.bundle import ModelBundle
from tests.benchmarks.unknown import CARD, PROTOCOLS, cohort_of
from training.fit import bundle_from, fit_models, read_outcomes
from training.plan import TrainingPlan

SIMULATED, TRAINED = "salvage", 1500
UNKNOWN = 0.2
EXACT = 1e-9


def made(cohort: Cohort, names: tuple[str, ...], patients: int) -> Cohort:
    """Return patients who mix the values of those of their disease."""
    rng = np.random.default_rng(11)
    chosen = cohort.take(np.sort(rng.integers(len(cohort), size=patients)))
    disease = np.array(cohort.text("disease"))
    values, drawn = dict(chosen.values), np.array(chosen.text("disease"))
    for name in names:
        if name == "disease":
            continue
        column = np.full(patients, np.nan)
        for one in np.unique(drawn):
            here, others = np.flatnonzero(drawn == one), np.flatnonzero(disease == one)
            column[here] = cohort.values[name][rng.choice(others, len(here))]
        values[name] = np.where(rng.random(patients) < UNKNOWN, np.nan, column)
    return Cohort(chosen.dictionary, chosen.patients, values, chosen.provenance)


def fitted(protocol: StudyProtocol, cohort: Cohort) -> ModelBundle:
    plan, outcomes = TrainingPlan(), read_outcomes(cohort, protocol)
    models = fit_models(cohort, outcomes, protocol=protocol, plan=plan)
    return bundle_from(models, cohort, outcomes, protocol=protocol, plan=plan, card=CARD)


def figures(protocol: StudyProtocol, cohort: Cohort, patients: int) -> dict[str, float]:
    bundle, anyone = fitted(protocol, cohort), made(cohort, protocol.predictors, patients)
    timed = [e for e in bundle.endpoints if e.endpoint.timed]
    months = np.arange(1.0, max(protocol.horizons) + 1.0)
    strata, completed = bundle.strata(anyone), bundle.completion.complete_cohort(anyone)
    limits = np.array([min(e.supported[d] for e in timed) for d in protocol.diseases])[strata]
    reached = months <= limits[:, None]
    together, alone = (
        {e.endpoint.name: event_free(e.endpoint, answer(e.endpoint.name)) for e in timed}
        for answer in (
            lambda name: bundle.completed_probabilities(completed, strata, name, months),
            lambda name: bundle.endpoint(name).probabilities(completed, strata, months),
        )
    )
    apart, before = _apart(bundle, together, reached), _apart(bundle, alone, reached)
    return {
        "patients": float(patients),
        "crossed": float((apart > EXACT).sum()),
        "crossed_alone": float((before > EXACT).sum()),
        "points_alone": round(100.0 * float(before.max(initial=0.0)), 2),
    }


def _apart(bundle: ModelBundle, free: dict[str, FloatArray], reached: BoolArray) -> FloatArray:
    """Return by how much each patient's endpoints contradict one another at most, (patients,)."""
    declared = [e.endpoint for e in bundle.endpoints if e.endpoint.timed]
    worst = np.zeros(len(reached))
    for endpoint in declared:
        for relation in relations(endpoint, declared):
            above = free[relation.other] - free[endpoint.name]
            wrong = np.abs(above) if relation.how == EQUAL else above if relation.how == AT_LEAST else -above
            worst = np.maximum(worst, np.where(reached, wrong, 0.0).max(axis=1))
    return worst


def table(patients: int) -> dict[str, object]:
    found, absent = {}, []
    for name in (*PROTOCOLS, SIMULATED):
        protocol = load_protocol(name)
        if len(protocol.endpoints) < 2:
            continue
        cohort = simulate(TRAINED, seed=3).cohort if name == SIMULATED else cohort_of(protocol)
        if cohort is None:
            absent.append(name)
        else:
            found[name] = figures(protocol, cohort, patients)
    return {"protocols": found, "absent": absent}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--patients", type=int, default=10_000)
    options = parser.parse_args()
    print(json.dumps(table(options.patients), indent=None if options.json else 1))  # noqa: T201
