"""Applicability: where a patient differs from those the model learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.dictionary import Dictionary, Field
from models.prediction import Caution


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
        """Summarise the training cohort, disease by disease."""
        ranges: dict[str, dict[str, tuple[float, float]]] = {}
        categories: dict[str, dict[str, dict[str, int]]] = {}
        for disease in diseases:
            rows = cohort.take(np.array([d == disease for d in cohort.text("disease")]))
            ranges[disease], categories[disease] = {}, {}
            for field in cohort.dictionary.slice(predictors).fields:
                seen = rows.values[field.name][~np.isnan(rows.values[field.name])]
                if field.type in ("number", "integer"):
                    if seen.size:
                        ranges[disease][field.name] = (float(seen.min()), float(seen.max()))
                else:
                    categories[disease][field.name] = _counts(field, seen.tolist())
        return cls(ranges, categories)

    def warnings(self, patient: Cohort, *, disease: str, dictionary: Dictionary) -> tuple[Caution, ...]:
        """Name every predictor of one patient that is missing or unlike the training cohort."""
        values = {field.name: float(patient.values[field.name][0]) for field in dictionary.fields}
        return self.cautions(values, disease, dictionary)

    def cautions(
        self, values: Mapping[str, float], disease: str, dictionary: Dictionary
    ) -> tuple[Caution, ...]:
        """Return the same of a patient that was read alone."""
        found = []
        for judge in self._judges(disease, dictionary):
            value = values[judge.field]
            if value != value:
                found.append(judge.missing)
            elif not judge.low <= value <= judge.high or value in judge.unseen:
                found.append(judge.unlike)
        return tuple(found)

    @cached_property
    def _made(self) -> "dict[str, tuple[_Judge, ...]]":
        return {}

    def _judges(self, disease: str, dictionary: Dictionary) -> "tuple[_Judge, ...]":
        """Return how each predictor of a disease is judged; made once and kept."""
        found = self._made.get(disease)
        if found is None:
            found = self._made[disease] = tuple(
                self._judge(field, disease) for field in dictionary.fields if field.applies(disease)
            )
        return found

    def _judge(self, field: Field, disease: str) -> "_Judge":
        missing = Caution("missing", field.name, f"{field.label} is missing; the model takes it as unknown")
        if field.type in ("category", "flag"):
            seen = self.categories[disease].get(field.name, {})
            count = len(field.categories) or 2
            unseen = frozenset(
                float(at) for at in range(count) if not seen.get(str(field.value(float(at))).lower(), 0)
            )
            message = f"no training patient with this disease had this value of: {field.label}"
            return _Judge(field.name, missing, Caution("unseen_category", field.name, message), unseen=unseen)
        bounds = self.ranges[disease].get(field.name)
        if bounds is None:
            message = f"no training patient with this disease had a value of: {field.label}"
            return _Judge(field.name, missing, Caution("out_of_range", field.name, message), low=inf)
        low, high = bounds
        unit = f" {field.unit}" if field.unit else ""
        message = f"{field.label} is outside what training saw in this disease: {low:.4g} to {high:.4g}{unit}"
        return _Judge(field.name, missing, Caution("out_of_range", field.name, message), low=low, high=high)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        ranges = {d: {n: list(r) for n, r in by.items()} for d, by in self.ranges.items()}
        return {"ranges": ranges, "categories": self.categories}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Applicability":
        """Read what :meth:`as_dict` wrote."""
        ranges = {d: {n: (r[0], r[1]) for n, r in by.items()} for d, by in stored["ranges"].items()}
        return cls(ranges, stored["categories"])


@dataclass(frozen=True)
class _Judge:
    """How one predictor is judged: the cautions, the numbers that training saw, the categories it did not."""

    field: str
    missing: Caution
    unlike: Caution
    low: float = -inf
    high: float = inf
    unseen: frozenset[float] = frozenset()


def _counts(field: Field, seen: list[float]) -> dict[str, int]:
    names = [str(field.value(number)).lower() for number in seen]
    return {name: names.count(name) for name in sorted(set(names))}
