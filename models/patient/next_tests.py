"""What to find out next: how far each missing reassessment could move a patient's answer.

For every imaging finding, biopsy, marker or laboratory value that is missing, its plausible values given the
rest of the patient are put in one after the other and the model answers each. A test moves the answer much
only when its result is open and the model listens to it; so a result that the rest already tells ranks low.

Assumption: what is missing is like what was measured in training patients who are otherwise alike. The
change is that of the prediction, which is better informed afterwards; it is no effect of the test.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from math import isnan
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.dictionary import Field, FloatArray
from features.encoder import Encoder
from models.patient.imputation import (
    Association,
    Expected,
    Plausible,
    PlausibleCategory,
    PlausibleNumber,
    read_plausible,
)
from models.prediction import NextTest

FEWEST = 20
MOST_ROWS = 20_000
HARDLY = 0.005
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Given:
    """Plausible values of one test in the dictionary's own unit, and their weights, each shape (values,)."""

    values: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class Now:
    """The answer as it is, in words what it is of, and the threshold that matters, if any."""

    answer: float
    threshold: float | None
    outcome: str


@dataclass(frozen=True)
class InDisease:
    """One disease: its columns' means, scales and association, and a model of each test's result."""

    means: FloatArray
    scales: FloatArray
    association: Association
    plausible: Mapping[str, Plausible]

    def standardised(self, X: FloatArray) -> FloatArray:
        """Return columns in standard deviations from the disease's mean, NaN where missing, 0 if constant."""
        return _standardised(X, self.means, self.scales)


@dataclass(frozen=True)
class Information:
    """Plausible values of the tests, by disease."""

    encoder: Encoder
    diseases: Mapping[str, InDisease]

    @classmethod
    def fit(
        cls, cohort: Cohort, encoder: Encoder, predictors: tuple[str, ...], diseases: tuple[str, ...]
    ) -> "Information":
        """Learn, disease by disease, what is plausible for each predictor that a test can find out.

        A predictor known of fewer than 20 patients of a disease, or the same in all of them, is left out
        there. Of more than 20,000 patients evenly spaced ones are used.
        """
        shown = {column.predictor for column in encoder.columns}
        asked = tuple(n for n in predictors if n in shown and is_test(encoder.dictionary[n]))
        disease = np.array(cohort.text("disease"))
        return cls(encoder, {d: _fit_disease(cohort.take(disease == d), encoder, asked) for d in diseases})

    def rank(
        self,
        patient: Cohort,
        answer: Callable[[Cohort], FloatArray],
        *,
        threshold: float | None = None,
        outcome: str = "the probability",
    ) -> tuple[NextTest, ...]:
        """Rank a cohort of one's missing tests by how much they would move the answer, the most first.

        ``answer`` gives one probability per patient of a cohort; it is called once, with every plausible
        patient. Of equal ones, the first in the dictionary comes first.
        """
        values = {name: float(column[0]) for name, column in patient.values.items()}
        given = self.given(values, self.encoder.encode(patient)[0], str(patient.text("disease")[0]))
        if not given:
            return ()
        answers = answer(_variants(patient, {name: each.values for name, each in given.items()}))
        starts = np.cumsum([1, *(len(each.values) for each in given.values())])
        by_test = dict(zip(given, np.split(answers[1:], starts[1:-1] - 1), strict=True))
        now = Now(float(answers[0]), threshold, outcome)
        return self.ranked(given, by_test, now)

    def given(self, patient: Mapping[str, float], x: FloatArray, disease: str) -> "dict[str, Given]":
        """Return plausible values of each test that one patient, encoded as ``x`` (columns,), is missing."""
        here = self.diseases.get(disease)
        missing = [] if here is None else [n for n in here.plausible if isnan(patient[n])]
        if here is None or not missing:
            return {}
        rest = here.association.expected(here.standardised(x))
        return {name: Given(*self._values(name, here.plausible[name], rest)) for name in missing}

    def ranked(
        self, given: "Mapping[str, Given]", answers: Mapping[str, FloatArray], now: "Now"
    ) -> tuple[NextTest, ...]:
        """Rank tests by how much ``answers``, one a plausible value, differ from the one now."""
        tests = [
            _test(self.encoder.dictionary[name], answers[name].tolist(), each.weights.tolist(), now)
            for name, each in given.items()
        ]
        return tuple(sorted(tests, key=lambda test: -test.expected_change))

    def _values(self, name: str, plausible: Plausible, rest: Expected) -> tuple[FloatArray, FloatArray]:
        """Return plausible values in the dictionary's own unit, with weights."""
        values, weights = plausible.given(rest)
        declared = self.encoder.dictionary[name]
        if declared.scale == "log":
            values = np.expm1(values)
        return (np.round(values) if declared.type == "integer" else values), weights

    def as_dict(self) -> dict[str, Any]:
        """Return the models as plain JSON values; no patient's row is among them."""
        return {
            disease: {
                "means": here.means.tolist(),
                "scales": here.scales.tolist(),
                "correlation": here.association.correlation.tolist(),
                "plausible": {name: model.as_dict() for name, model in here.plausible.items()},
            }
            for disease, here in self.diseases.items()
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, encoder: Encoder) -> "Information":
        """Read what :meth:`as_dict` wrote."""
        diseases = {
            disease: InDisease(
                np.array(here["means"]),
                np.array(here["scales"]),
                Association(np.array(here["correlation"])),
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


def _fit_disease(cohort: Cohort, encoder: Encoder, asked: tuple[str, ...]) -> InDisease:
    if len(cohort) > MOST_ROWS:
        cohort = cohort.take(np.linspace(0, len(cohort) - 1, MOST_ROWS).astype(np.int64))
    X = encoder.encode(cohort)
    known = ~np.isnan(X)
    count = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, X, 0.0).sum(axis=0) / count
    scales = np.sqrt(np.where(known, (X - means) ** 2, 0.0).sum(axis=0) / count)
    Z = _standardised(X, means, scales)
    models = {name: _fit_predictor(cohort.values[name], Z, name, encoder) for name in asked}
    return InDisease(
        means,
        scales,
        Association.fit(Z),
        {name: model for name, model in models.items() if model is not None},
    )


def _fit_predictor(values: FloatArray, Z: FloatArray, name: str, encoder: Encoder) -> Plausible | None:
    known, declared = ~np.isnan(values), encoder.dictionary[name]
    y = values[known]
    if len(y) < FEWEST or y.min() == y.max():
        return None
    own = [column.predictor == name for column in encoder.columns]
    others = np.where(own | np.isnan(Z[known]), 0.0, Z[known])
    if declared.type in ("category", "flag"):
        return PlausibleCategory.fit(others, y)
    return PlausibleNumber.fit(others, np.log1p(y) if declared.scale == "log" else y)


def _standardised(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    apart: FloatArray = (X - means) / np.where(scales > 0.0, scales, np.inf)
    return apart


def _variants(patient: Cohort, given: Mapping[str, FloatArray]) -> Cohort:
    """Return the patient as they are, then once for each value of each predictor."""
    rows = 1 + sum(len(values) for values in given.values())
    table = {name: np.full(rows, value[0]) for name, value in patient.values.items()}
    start = 1
    for name, values in given.items():
        table[name][start : start + len(values)] = values
        start += len(values)
    return replace(patient, patients=patient.patients * rows, values=table)


def _test(declared: Field, answers: list[float], weights: list[float], now: Now) -> NextTest:
    low, high = _between(sorted(zip(answers, weights, strict=True)))
    change = sum(weight * abs(answer - now.answer) for answer, weight in zip(answers, weights, strict=True))
    crosses = None
    if now.threshold is not None:
        crosses = bool(high >= now.threshold if now.answer < now.threshold else low < now.threshold)
    words = _words(declared.label, change, (low, high), now, crosses)
    return NextTest(declared.name, declared.label, change, low, high, crosses, words)


def _between(rising: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the answers, rising and with weights, between which nine of ten lie."""
    up_to = list(accumulate(weight for _, weight in rising))
    last = len(rising) - 1
    low, high = (rising[min(bisect_left(up_to, at), last)][0] for at in (LOW, HIGH))
    return low, high


def _words(label: str, change: float, bounds: tuple[float, float], now: Now, crosses: bool | None) -> str:
    low, high = (f"{bound:.0%}" for bound in bounds)
    start = f"{label}: knowing it would "
    if change < HARDLY:
        said = f"hardly move {now.outcome}, now {now.answer:.0%}"
    else:
        points = f"{100 * change:.0f} percentage point{'' if round(100 * change) == 1 else 's'}"
        said = (
            f"move {now.outcome}, now {now.answer:.0%}, by {points} on average; "
            f"in nine cases of ten it would then lie between {low} and {high}"
        )
    if crosses is None:
        return f"{start}{said}."
    side = "could" if crosses else "would not"
    return f"{start}{said}, which {side} cross {now.threshold:.0%}."
