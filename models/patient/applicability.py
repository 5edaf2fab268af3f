"""Applicability domain: which single values of a patient are outside what training saw, and how far.

models/patient/typicality.py judges the combination of values.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, isnan
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.dictionary import Dictionary, Field, FloatArray
from features.errors import Problem
from models.prediction import Caution

FARTHEST = 0.5
"""How far beyond the range a value is answered for, in widths of the range."""


@dataclass(frozen=True)
class Applicability:
    """What training saw of each predictor in each disease.

    ``ranges[disease][predictor]`` is the smallest and largest number; ``categories[disease][predictor]``
    counts each category (flags as true and false).
    """

    ranges: Mapping[str, Mapping[str, tuple[float, float]]]
    categories: Mapping[str, Mapping[str, Mapping[str, int]]]

    @classmethod
    def fit(
        cls, cohort: Cohort, *, predictors: tuple[str, ...], diseases: tuple[str, ...]
    ) -> "Applicability":
        """Record the range or the counts of each predictor in the training patients of each disease."""
        ranges: dict[str, dict[str, tuple[float, float]]] = {disease: {} for disease in diseases}
        categories: dict[str, dict[str, dict[str, int]]] = {disease: {} for disease in diseases}
        named = np.array(cohort.text("disease"))
        for disease in diseases:
            rows = np.flatnonzero(named == disease)
            for field in cohort.dictionary.slice(predictors).fields:
                values = cohort.values[field.name][rows]
                seen = values[~np.isnan(values)]
                if field.type in ("category", "flag"):
                    categories[disease][field.name] = _counts(field, seen)
                elif seen.size:
                    ranges[disease][field.name] = (float(seen.min()), float(seen.max()))
        return cls(ranges, categories)

    def check(self, diseases: Collection[str]) -> None:
        """Raise ValueError where ranges and counts are not those of these diseases."""
        ends = [end for by in self.ranges.values() for pair in by.values() for end in pair]
        counts = [count for by in self.categories.values() for seen in by.values() for count in seen.values()]
        sound = set(self.ranges) == set(self.categories) == set(diseases) and all(map(isfinite, ends))
        if not sound or not all(isinstance(count, int) for count in counts):
            raise ValueError("applicability is not as it must be")

    def cautions(
        self, values: Mapping[str, float], disease: str, dictionary: Dictionary
    ) -> tuple[Caution, ...]:
        """Name every known value of one patient that is out of range or of a category never seen.

        Predictors that have no meaning in the disease are passed over.
        """
        return tuple(
            check.unlike for check in self._checks(disease, dictionary) if not check.seen(values[check.field])
        )

    def too_far(self, values: Mapping[str, float], disease: str, dictionary: Dictionary) -> Iterator[Problem]:
        """Yield each value that is too far beyond what training saw to be answered for.

        That is farther than half the width of the range, on the encoder's scale.
        """
        for check in self._checks(disease, dictionary):
            if check.far is not None and not check.near(values[check.field]):
                yield check.far

    @cached_property
    def _by_disease(self) -> "dict[str, tuple[_Check, ...]]":
        return {}

    def _checks(self, disease: str, dictionary: Dictionary) -> "tuple[_Check, ...]":
        """Return the checks of each predictor of a disease; made once, as every patient needs them."""
        checks = self._by_disease.get(disease)
        if checks is None:
            checks = self._by_disease[disease] = tuple(
                self._check(field, disease) for field in dictionary.fields if field.applies(disease)
            )
        return checks

    def _check(self, field: Field, disease: str) -> "_Check":
        if field.type in ("category", "flag"):
            seen = self.categories[disease].get(field.name, {})
            count = len(field.categories) or 2
            unseen = frozenset(
                float(at) for at in range(count) if not seen.get(str(field.value(float(at))).lower(), 0)
            )
            message = (
                f"no training patient with this disease had this value of: {field.label}; "
                "the answer takes it as not known"
            )
            return _Check(field.name, Caution("unseen_category", field.name, message), unseen=unseen)
        low, high = self.ranges[disease].get(field.name, (inf, -inf))
        message = f"no training patient with this disease had a value of: {field.label}"
        if low <= high:
            bounds = f"{low:.4g} to {high:.4g}{f' {field.unit}' if field.unit else ''}"
            message = (
                f"{field.label} is outside what training saw in this disease: {bounds}; "
                "the answer is that at the border, its interval wider"
            )
        caution = Caution("out_of_range", field.name, message)
        if low >= high:
            return _Check(field.name, caution, low=low, high=high)
        least, most = answered_range(field, low, high)
        far = Problem(
            field.name,
            f"is too far from what training saw in this disease: {bounds}",
            "check the value and its unit; left out, it counts as not known",
        )
        return _Check(field.name, caution, low=low, high=high, least=least, most=most, far=far)

    def as_dict(self) -> dict[str, Any]:
        ranges = {d: {n: list(r) for n, r in by.items()} for d, by in self.ranges.items()}
        return {"ranges": ranges, "categories": self.categories}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Applicability":
        ranges = {d: {n: (r[0], r[1]) for n, r in by.items()} for d, by in stored["ranges"].items()}
        return cls(ranges, stored["categories"])


@dataclass(frozen=True)
class _Check:
    """One predictor's: numbers outside ``low`` to ``high`` and ``unseen`` categories are unlike training's.

    Numbers outside ``least`` to ``most`` are too far, as ``far`` says.
    """

    field: str
    unlike: Caution
    low: float = -inf
    high: float = inf
    unseen: frozenset[float] = frozenset()
    least: float = -inf
    most: float = inf
    far: Problem | None = None

    def seen(self, value: float) -> bool:
        """Tell whether a value is unknown or like one that training saw."""
        return isnan(value) or (self.low <= value <= self.high and value not in self.unseen)

    def near(self, value: float) -> bool:
        """Tell whether a value is unknown or near enough."""
        return isnan(value) or self.least <= value <= self.most


def answered_range(field: Field, low: float, high: float) -> tuple[float, float]:
    """Return the least and the greatest number that is answered for, given the range that training saw.

    They lie half the width of the range beyond it, on the encoder's scale.
    """
    into, out_of = (np.log1p, np.expm1) if field.scale == "log" else (float, float)
    margin = FARTHEST * (into(high) - into(low))
    return float(out_of(into(low) - margin)), float(out_of(into(high) + margin))


def _counts(field: Field, seen: FloatArray) -> dict[str, int]:
    positions, counts = np.unique(seen, return_counts=True)
    named = ((str(field.value(at)).lower(), n) for at, n in zip(positions, counts.tolist(), strict=True))
    return dict(sorted(named))
