"""Whether intervals hold true risks evenly: python -m tests.benchmarks.coverage_groups [--json] [--cohorts N]

As tests/benchmarks/coverage.py, by group: each horizon (earliest first), each tenth of predicted risk (the
best prognosis first), the smallest and the other diseases, and new patients of whom one value, three values,
or all but the disease are not known. The true risk is the patient's own given all values, the unknown ones
too. The project's own simulator, whose records do not tell the whole risk, is left out. Figures are means of
truths and cohorts; ``lowest`` and ``highest`` are over all groups, ``width`` is of complete patients.
"""

import argparse
import json
from collections.abc import Sequence

import numpy as np

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import Category, Dictionary, Field, FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS
from models.estimators.additive import AdditiveModel
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray
from models.patient.completion import Completion
from models.uncertainty.intervals import Intervals
from tests.benchmarks.coverage import LEVEL, TRUTHS, Sample, Truth

TENTHS = 10
UNKNOWN = {"one": 1, "three": 3, "all": None}


def as_cohort(X: FloatArray, strata: IntArray, truth: Truth) -> Cohort:
    """Return encoded rows as a cohort whose encoding they are."""
    first = truth.columns - truth.binary
    fields = [
        Field(f"x{at}", f"x{at}", "disease", "number" if at < first else "flag", "index")
        for at in range(truth.columns)
    ]
    diseases = tuple(Category(name, name) for name in diseases_of(truth))
    known = Field("disease", "disease", "disease", "category", "index", categories=diseases)
    values = {f"x{at}": X[:, at] / (1.0 if at < first else 2.0) for at in range(truth.columns)}
    patients = tuple(map(str, range(len(X))))
    return Cohort(Dictionary((known, *fields)), patients, values | {"disease": strata.astype(np.float64)})


def diseases_of(truth: Truth) -> tuple[str, ...]:
    return tuple(f"disease_{at}" for at in range(len(truth.diseases)))


def masked(cohort: Cohort, count: int | None, rng: np.random.Generator) -> Cohort:
    """Return the cohort with so many random values of each patient, or all but the disease, not known."""
    names = [name for name in cohort.values if name != "disease"]
    order = rng.random((len(cohort), len(names))).argsort(axis=1).argsort(axis=1)
    hidden = order < (len(names) if count is None else count)
    blank = {name: np.where(hidden[:, at], np.nan, cohort.values[name]) for at, name in enumerate(names)}
    return Cohort(cohort.dictionary, cohort.patients, cohort.values | blank)


def measured(truth: Truth, patients: int, *, seed: int) -> dict[str, list[float]]:
    """Return by group the shares of true risks held, and the mean widths, in one cohort."""
    sample = truth.sample(patients, seed=seed)
    train, new = (
        as_cohort(sample.X, sample.strata, truth),
        as_cohort(sample.asked, sample.asked_strata, truth),
    )
    encoder = Encoder.fit(train, predictors=train.dictionary.names)
    completion = Completion.fit(train, encoder, diseases_of(truth))
    X = encoder.encode(train)
    fit = CrossFitted(seed=seed).cross_fit(X, sample.strata, sample.outcome)
    rows = completion.complete_cohort(train).one_each()
    intervals = Intervals.fit(
        fit, rows, sample.strata, sample.horizons, endpoint=ENDPOINTS["overall_survival"],
        unlearned=CrossFitted.unlearned,
    )  # fmt: skip
    rng, found = np.random.default_rng(seed), {}
    inside, predicted, width = held(fit.model, completion, intervals, new, sample)
    found |= {f"horizon_{at + 1}": [float(column.mean())] for at, column in enumerate(inside.T)}
    tenths = np.argsort(np.argsort(-predicted, axis=0), axis=0) * TENTHS // len(predicted)
    found |= {f"tenth_{at + 1}": [float(inside[tenths == at].mean())] for at in range(TENTHS)}
    if len(truth.diseases) > 1:
        shares = np.bincount(sample.strata) / patients
        smallest = sample.asked_strata == int(shares.argmin())
        found |= {
            "smallest_disease": [float(inside[smallest].mean())],
            "other_diseases": [float(inside[~smallest].mean())],
        }
    found["width"] = [width]
    for name, count in UNKNOWN.items():
        inside, _, width = held(fit.model, completion, intervals, masked(new, count, rng), sample)
        found |= {f"unknown_{name}": [float(inside.mean())], f"width_unknown_{name}": [width]}
    return found


def held(
    model: AdditiveModel, completion: Completion, intervals: Intervals, new: Cohort, sample: Sample
) -> tuple[BoolArray, FloatArray, float]:
    """Return whether each true risk is in its interval, the predictions, and the mean width."""
    patients, strata = completion.complete_cohort(new), sample.asked_strata
    each = model.predict(patients.X, patients.strata(strata), sample.horizons)
    mean, spread = patients.mean(each), patients.variance(intervals.link.value(each))
    low, high = intervals.around(
        mean, completion.encoder.encode(new), strata, sample.horizons, spread, level=LEVEL
    )
    inside = (sample.own >= low[:, 0]) & (sample.own <= high[:, 0])
    return inside, mean[:, 0], float((high - low).mean())


def figures(truths: Sequence[Truth], patients: int, cohorts: int) -> dict[str, float]:
    """Return means over cohorts, then over truths, and the extremes of the groups."""
    each: dict[str, list[float]] = {}
    for truth in truths:
        own: dict[str, list[float]] = {}
        for seed in range(cohorts):
            for name, values in measured(truth, patients, seed=seed).items():
                own.setdefault(name, []).extend(values)
        for name, values in own.items():
            each.setdefault(name, []).append(float(np.mean(values)))
    found = {name: float(np.mean(values)) for name, values in each.items()}
    groups = [value for name, value in found.items() if not name.startswith("width")]
    found |= {"lowest": min(groups), "highest": max(groups)}
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cohorts", type=int, default=2)
    parser.add_argument("--size", type=int, default=1000, help="training patients of a cohort")
    parser.add_argument("--truths", choices=sorted(TRUTHS), default="unseen")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    known = [truth for truth in TRUTHS[options.truths] if isinstance(truth, Truth)]
    result = figures(known, options.size, options.cohorts)
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
