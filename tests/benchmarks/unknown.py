"""Answers where values are unknown: python -m tests.benchmarks.unknown [--json] [--protocols a,b]

For every protocol with a real cohort at hand the whole procedure is fitted without each of five folds, whose
patients are answered with one predictor masked at a time, with 30 % of all values masked at random, and as
they are. By protocol and mask, for the leading endpoint:

- ``oe``: observed over expected risk at the explained horizon;
- ``brier``: the integrated Brier score, and ``averaged``: that of averaging the same model over the training
  values of each unknown predictor, whatever the rest of the patient;
- ``contribution``: the mean absolute contribution of the masked predictors in percentage points, of one fold.

A mask of one predictor counts the patients of whom it is known. ``worst_brier`` is the largest ``brier`` less
``averaged``, ``oe_lowest`` and ``oe_highest`` are over all masks. Cohorts that are not at hand are left out
and named in ``absent``.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort, concatenate
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS
from features.protocol import StudyProtocol, load_protocol
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from models.bundle.bundle import ModelBundle, strata
from models.bundle.card import ModelCard
from models.estimators.curves import IntArray
from models.estimators.interface import Model
from models.estimators.ipcw import integrated_brier
from models.patient.completion import Completion
from training.evaluate import scored_times
from training.fit import FittedModels, bundle_from, fit_models, read_outcomes
from training.metrics import observed_risk
from training.plan import TrainingPlan
from training.scope import select
from training.split import split_for

DATA = Path(__file__).parents[3] / "shared" / "data"
SOURCES = {
    "bc-dlbcl": DATA / "bc-dlbcl" / "surv_wide.tsv",
    "cibmtr-leukaemia": DATA / "cibmtr" / "DS1302.csv",
    "cibmtr-relapse": DATA / "cibmtr" / "DS1302.csv",
    "oak": DATA / "oak" / "OAK_Clinical_Data.csv",
    "tcga-progression": DATA / "tcga",
}
PROTOCOLS = (
    "relapse-survival", "dlbcl-salvage", "leukaemia-transplant", "leukaemia-relapse", "nsclc-second-line",
    "glioblastoma-progression", "ovarian-progression",
)  # fmt: skip
NOTHING, AT_RANDOM = "nothing", "random_30"
SHARE = 0.3
VALUES = 32
EXPLAINED = 60
CARD = ModelCard("", "", "", "", (), "", (), (), "", (), 0, {}, {}, {}, {}, (), "")


@dataclass(frozen=True)
class Masked:
    """Patients with some values masked; ``hidden`` (patients, predictors) of ``names`` tells which."""

    cohort: Cohort
    names: tuple[str, ...]
    hidden: BoolArray


def cohort_of(protocol: StudyProtocol) -> Cohort | None:
    """Return a protocol's real cohort, None where a source is not at hand."""
    if any(name in SOURCES and not SOURCES[name].exists() for name in protocol.cohorts):
        return None
    built = [build_cohort(load_recipe(name), SOURCES.get(name)) for name in protocol.cohorts]
    return concatenate([select(one, protocol) for one in built])


def masks(cohort: Cohort, names: tuple[str, ...]) -> Iterator[tuple[str, Masked]]:
    """Yield each mask by its name: nothing, every predictor in turn, and values at random."""
    nothing = np.zeros((len(cohort), len(names)), dtype=bool)
    yield NOTHING, Masked(cohort, names, nothing)
    for at, name in enumerate(names):
        hidden = nothing.copy()
        hidden[:, at] = ~np.isnan(cohort.values[name])
        yield name, _masked(cohort, names, hidden)
    drawn = np.random.default_rng(0).random(nothing.shape) < SHARE
    known = np.column_stack([~np.isnan(cohort.values[name]) for name in names])
    yield AT_RANDOM, _masked(cohort, names, drawn & known)


def _masked(cohort: Cohort, names: tuple[str, ...], hidden: BoolArray) -> Masked:
    blank = {name: np.where(hidden[:, at], np.nan, cohort.values[name]) for at, name in enumerate(names)}
    return Masked(replace(cohort, values={**cohort.values, **blank}), names, hidden)


def averaged(
    model: Model, encoder: Encoder, train: Cohort, masked: Masked, diseases: Sequence[str], times: FloatArray
) -> FloatArray:
    """Return mean predictions over the training values of what is masked, predictor by predictor."""
    X, known = encoder.encode(masked.cohort), encoder.encode(train)
    stratum, others = (strata(cohort, tuple(diseases)) for cohort in (masked.cohort, train))
    rows, rng = np.repeat(X[:, None], VALUES, axis=1), np.random.default_rng(1)
    for at, name in enumerate(masked.names):
        columns = [c for c, column in enumerate(encoder.columns) if column.predictor == name]
        for disease in range(len(diseases)):
            here = np.flatnonzero(masked.hidden[:, at] & (stratum == disease))
            own = known[others == disease][:, columns]
            own = own[~np.isnan(own).any(axis=1)] if columns else own
            if columns and len(here) and len(own):
                drawn = rng.integers(len(own), size=(len(here), VALUES))
                rows[here[:, None, None], np.arange(VALUES)[:, None], columns] = own[drawn]
    each = model.predict(rows.reshape(-1, X.shape[1]), np.repeat(stratum, VALUES), times)
    mean: FloatArray = each[:, 0].reshape(len(X), VALUES, -1).mean(axis=1)
    return mean


def completed(
    model: Model, completion: Completion, masked: Masked, stratum: IntArray, times: FloatArray
) -> FloatArray:
    """Return the product's predictions."""
    patients = completion.complete_cohort(masked.cohort)
    mean: FloatArray = patients.mean(model.predict(patients.X, patients.strata(stratum), times))[:, 0]
    return mean


def contribution(bundle: ModelBundle, masked: Masked) -> float:
    """Return the mean absolute contribution of masked values, in percentage points, of some patients."""
    some = np.flatnonzero(masked.hidden.any(axis=1))[:EXPLAINED]
    found = []
    for row in some.tolist():
        answer = bundle.predict(masked.cohort.take(np.array([row])))
        scale = answer.endpoints[0].outcomes[0].explanation.scales[0]
        hidden = {name for at, name in enumerate(masked.names) if masked.hidden[row, at]}
        found += [abs(c.contribution) for c in scale.contributions if c.predictor in hidden]
    return 100.0 * float(np.mean(found)) if found else 0.0


def figures(protocol: StudyProtocol, cohort: Cohort) -> dict[str, dict[str, float]]:
    """Return each mask's figures."""
    outcomes, plan, stratum = (
        read_outcomes(cohort, protocol),
        TrainingPlan(),
        strata(cohort, protocol.diseases),
    )
    leading = protocol.endpoints[0]
    outcome = outcomes[leading]
    assert isinstance(outcome, Outcome)
    times = scored_times(protocol, ENDPOINTS[leading])
    names = tuple(name for name in protocol.predictors if name != "disease")
    every = dict(masks(cohort, names))
    shape = len(cohort), len(times)
    ours = {name: np.empty(shape) for name in every}
    theirs = {name: np.empty(shape) for name in every}
    shares: dict[str, float] = {}
    for train, test in split_for(cohort, outcomes, protocol=protocol, plan=plan).parts():
        known = cohort.take(train)
        parts = {name: one.take(train) for name, one in outcomes.items()}
        leading_protocol = replace(protocol, endpoints=(leading,))
        fitted = fit_models(known, {leading: parts[leading]}, protocol=leading_protocol, plan=plan)
        model = fitted.endpoints[leading].model
        for name, mask in every.items():
            part = Masked(mask.cohort.take(test), names, mask.hidden[test])
            ours[name][test] = completed(model, fitted.completion, part, stratum[test], times)
            theirs[name][test] = averaged(model, fitted.encoder, known, part, protocol.diseases, times)
        shares = shares or _contributions(fitted, known, parts, leading_protocol, plan, every, test)
    last = int(np.flatnonzero(times == protocol.explained_horizon)[0])
    found = {}
    for name, mask in every.items():
        rows = mask.hidden.any(axis=1) if name in names else np.ones(len(cohort), dtype=bool)
        if not rows.any():
            continue
        seen = outcome.take(rows)
        found[name] = {
            "patients": float(rows.sum()),
            "oe": observed_risk(seen, protocol.explained_horizon)
            / float((1.0 - ours[name][rows, last]).mean()),
            "brier": float(integrated_brier(ours[name][rows], seen, times).mean()),
            "averaged": float(integrated_brier(theirs[name][rows], seen, times).mean()),
            "contribution": shares[name],
        }
    return found


def _contributions(
    fitted: FittedModels,
    known: Cohort,
    outcomes: Mapping[str, object],
    protocol: StudyProtocol,
    plan: TrainingPlan,
    every: Mapping[str, Masked],
    test: BoolArray,
) -> dict[str, float]:
    leading = {protocol.endpoints[0]: outcomes[protocol.endpoints[0]]}
    bundle = bundle_from(fitted, known, leading, protocol=protocol, plan=plan, card=CARD)  # type: ignore[arg-type]
    return {
        name: contribution(bundle, Masked(mask.cohort.take(test), mask.names, mask.hidden[test]))
        for name, mask in every.items()
    }


def table(names: Sequence[str]) -> dict[str, object]:
    """Return every protocol's figures, and the worst of all."""
    found, absent = {}, []
    for name in names:
        protocol = load_protocol(name)
        cohort = cohort_of(protocol)
        if cohort is None:
            absent.append(name)
            continue
        found[name] = figures(protocol, cohort)
    rows = [row for by_mask in found.values() for mask, row in by_mask.items() if mask != NOTHING]
    rounded = {
        name: {mask: {k: round(v, 4) for k, v in row.items()} for mask, row in by_mask.items()}
        for name, by_mask in found.items()
    }
    return {
        "protocols": rounded,
        "absent": absent,
        "worst_brier": round(max(row["brier"] - row["averaged"] for row in rows), 4),
        "oe_lowest": round(min(row["oe"] for row in rows), 3),
        "oe_highest": round(max(row["oe"] for row in rows), 3),
        "contribution": round(float(np.mean([row["contribution"] for row in rows])), 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help="comma-separated")
    options = parser.parse_args()
    result = table(options.protocols.split(","))
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
