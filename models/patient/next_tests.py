"""Next test: how far each missing imaging finding, biopsy, marker or laboratory value could move the answer.

Plausible values of a missing test, drawn from its conditional distribution given the rest of the patient, are
put in one after the other and the model answers each. The answer moves much only when the result is uncertain
and the model depends on it.

Assumption: values are missing at random, so a missing one is distributed as in training patients alike in the
rest. The change is that of the prediction, which is better informed afterwards; it is no effect of the test.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import isnan
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from features.cohort import Cohort
from features.dictionary import Field, FloatArray
from features.encoder import Encoder
from models.estimators.additive import require_numbers
from models.patient.imputation import (
    Conditional,
    Plausible,
    PlausibleCategory,
    PlausibleNumber,
    correlation_of,
    read_plausible,
)
from models.prediction import NextTest

SMALLEST_SAMPLE = 20
LARGEST_SAMPLE = 20_000
HARDLY = 0.005
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Given:
    """Plausible values of one test in the dictionary's own unit, and their weights, each shape (values,)."""

    values: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class Now:
    """The probability before any test, and the outcome it is of in words."""

    answer: float
    outcome: str


@dataclass(frozen=True)
class InDisease:
    """One disease's encoded columns: mean, standard deviation and correlation; and a model of each test."""

    means: FloatArray
    scales: FloatArray
    correlation: FloatArray
    plausible: Mapping[str, Plausible]

    def check(self, *, columns: int) -> None:
        """Raise ValueError, naming the part, where it is not of so many columns."""
        require_numbers("means", self.means, (columns,))
        require_numbers("scales", self.scales, (columns,))
        require_numbers("correlation", self.correlation, (columns, columns))
        for model in self.plausible.values():
            model.check(columns=columns)


@dataclass(frozen=True)
class Information:
    """What each test's result may be, by disease, and which missing test would move an answer most."""

    encoder: Encoder
    diseases: Mapping[str, InDisease]

    @classmethod
    def fit(
        cls, cohort: Cohort, encoder: Encoder, predictors: tuple[str, ...], diseases: tuple[str, ...]
    ) -> "Information":
        """Fit, disease by disease, the conditional distribution of each predictor that a test can find out.

        A predictor known of fewer than 20 patients of a disease, or the same in all of them, is left out
        there. Of more than 20,000 patients every second, third or so is used. The result does not depend on
        the number of threads.
        """
        shown = {column.predictor for column in encoder.columns}
        tests = [n for n in predictors if n in shown and is_test(encoder.dictionary[n])]
        X, named, fitted = encoder.encode(cohort), np.array(cohort.text("disease")), {}
        with threadpool_limits(1):  # threads change the order of sums, and slow down small ones
            for disease in diseases:
                rows = np.flatnonzero(named == disease)
                rows = rows[:: 1 + max(0, len(rows) - 1) // LARGEST_SAMPLE]
                fitted[disease] = _fit_disease(X[rows], {n: cohort.values[n][rows] for n in tests}, encoder)
        return cls(encoder, fitted)

    def check(self, diseases: Collection[str]) -> None:
        """Raise ValueError, or what a column that is not there raises, where it does not fit the encoder."""
        columns = len(self.encoder.columns)
        if set(self.diseases) != set(diseases):
            raise ValueError("information's diseases are not as they must be")
        for here in self.diseases.values():
            here.check(columns=columns)
            unknown = Conditional.of(np.full(columns, np.nan), here.correlation)
            for name, model in here.plausible.items():
                self.encoder.show(name, self._given(name, *model.given(unknown)).values)

    def given(self, patient: Mapping[str, float], x: FloatArray, disease: str) -> "dict[str, Given]":
        """Return plausible values of each test that one patient, encoded as ``x`` (columns,), is missing."""
        here = self.diseases[disease]
        missing = {name: model for name, model in here.plausible.items() if isnan(patient[name])}
        if not missing:
            return {}
        rest = Conditional.of(_standardised(x, here.means, here.scales), here.correlation)
        return {name: self._given(name, *model.given(rest)) for name, model in missing.items()}

    def ranked(
        self, given: "Mapping[str, Given]", answers: Mapping[str, FloatArray], now: "Now"
    ) -> tuple[NextTest, ...]:
        """Rank tests by the mean change from the answer now to ``answers``, one for each plausible value.

        Of equal ones, the first in the dictionary comes first.
        """
        tests = [
            _test(self.encoder.dictionary[name], answers[name].tolist(), each.weights.tolist(), now)
            for name, each in given.items()
        ]
        return tuple(sorted(tests, key=lambda test: -test.expected_change))

    def _given(self, name: str, encoded: FloatArray, weights: FloatArray) -> Given:
        """Convert values from the encoder's scale to the dictionary's unit, integers rounded."""
        declared = self.encoder.dictionary[name]
        values = np.expm1(encoded) if declared.scale == "log" else encoded
        return Given(np.round(values) if declared.type == "integer" else values, weights)

    def as_dict(self) -> dict[str, Any]:
        """Return the models as plain JSON values; no patient's row is among them."""
        return {
            disease: {
                "means": here.means.tolist(),
                "scales": here.scales.tolist(),
                "correlation": here.correlation.tolist(),
                "plausible": {name: model.as_dict() for name, model in here.plausible.items()},
            }
            for disease, here in self.diseases.items()
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, encoder: Encoder) -> "Information":
        diseases = {
            disease: InDisease(
                np.array(here["means"]),
                np.array(here["scales"]),
                np.array(here["correlation"]),
                {name: read_plausible(model) for name, model in here["plausible"].items()},
            )
            for disease, here in stored.items()
        }
        return cls(encoder, diseases)


def is_test(declared: Field) -> bool:
    """Tell whether a predictor is found out by imaging, biopsy, marker or laboratory at the index date.

    These are the reassessment, what staging shows of the disease at relapse, and laboratory values of overall
    health: numbers with a LOINC code in a unit of amount per volume, activity or time.

    >>> from features.dictionary import load_dictionary
    >>> known = load_dictionary()
    >>> [n for n in ("deauville", "site_liver", "albumin", "age", "prior_lines") if is_test(known[n])]
    ['deauville', 'site_liver', 'albumin']
    """
    laboratory = "loinc" in declared.codes and "/" in (declared.unit or "")
    return (
        declared.group == "reassessment"
        or (declared.group == "disease" and declared.known == "index")
        or (declared.group == "overall_health" and laboratory)
    )


def _fit_disease(X: FloatArray, tests: Mapping[str, FloatArray], encoder: Encoder) -> InDisease:
    """Fit one disease from ``X`` (patients, columns) and each test's values (patients,) as in the cohort."""
    known = ~np.isnan(X)
    count = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, X, 0.0).sum(axis=0) / count
    scales = np.sqrt(np.where(known, (X - means) ** 2, 0.0).sum(axis=0) / count)
    Z = _standardised(X, means, scales)
    filled = np.nan_to_num(Z, nan=0.0)
    owner = np.array([column.predictor for column in encoder.columns])
    models: dict[str, Plausible] = {}
    for name, values in tests.items():
        shows, rows = owner == name, ~np.isnan(values)
        y, rest = values[rows], np.where(shows, 0.0, filled[rows])
        if len(y) < SMALLEST_SAMPLE or y.min() == y.max():
            continue
        if encoder.dictionary[name].type in ("category", "flag"):
            models[name] = PlausibleCategory.fit(rest, y)
        else:
            models[name] = PlausibleNumber.fit(rest, X[rows][:, shows].ravel())
    return InDisease(means, scales, correlation_of(Z), models)


def _standardised(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return columns in standard deviations from their means, NaN where missing, 0 where constant."""
    apart: FloatArray = (X - means) / np.where(scales > 0.0, scales, np.inf)
    return apart


def _test(declared: Field, answers: list[float], weights: list[float], now: Now) -> NextTest:
    low, high = _between(sorted(zip(answers, weights, strict=True)))
    change = sum(weight * abs(answer - now.answer) for answer, weight in zip(answers, weights, strict=True))
    words = _words(declared.label, change, (low, high), now)
    return NextTest(declared.name, declared.label, change, low, high, words)


def _between(rising: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of answers with weights, sorted by answer."""
    up_to = list(accumulate(weight for _, weight in rising))
    last = len(rising) - 1
    low, high = (rising[min(bisect_left(up_to, at), last)][0] for at in (LOW, HIGH))
    return low, high


def _words(label: str, change: float, bounds: tuple[float, float], now: Now) -> str:
    low, high = (f"{bound:.0%}" for bound in bounds)
    if change < HARDLY:
        return f"{label}: knowing it would hardly move {now.outcome}, now {now.answer:.0%}."
    points = f"{100 * change:.0f} percentage point{'' if round(100 * change) == 1 else 's'}"
    return (
        f"{label}: knowing it would move {now.outcome}, now {now.answer:.0%}, by {points} on average; "
        f"in nine cases of ten it would then lie between {low} and {high}."
    )
