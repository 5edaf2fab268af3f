"""Applicability: where a patient differs from those the model learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        found = []
        for field in dictionary.fields:
            if field.applies(disease):
                value = field.value(float(patient.values[field.name][0]))
                found += [w for w in [self._warning(field, value, disease)] if w is not None]
        return tuple(found)

    def _warning(self, field: Field, value: object, disease: str) -> Caution | None:
        if value is None:
            return Caution("missing", field.name, f"{field.label} is missing; the model takes it as unknown")
        if field.type in ("number", "integer"):
            seen = self.ranges[disease].get(field.name)
            if seen is None:
                message = f"no training patient with this disease had a value of: {field.label}"
                return Caution("out_of_range", field.name, message)
            low, high = seen
            if low <= float(value) <= high:  # type: ignore[arg-type]
                return None
            unit = f" {field.unit}" if field.unit else ""
            message = (
                f"{field.label} is outside what training saw in this disease: {low:.4g} to {high:.4g}{unit}"
            )
            return Caution("out_of_range", field.name, message)
        if self.categories[disease].get(field.name, {}).get(str(value).lower(), 0):
            return None
        return Caution(
            "unseen_category",
            field.name,
            f"no training patient with this disease had this value of: {field.label}",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        ranges = {d: {n: list(r) for n, r in by.items()} for d, by in self.ranges.items()}
        return {"ranges": ranges, "categories": self.categories}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Applicability":
        """Read what :meth:`as_dict` wrote."""
        ranges = {d: {n: (r[0], r[1]) for n, r in by.items()} for d, by in stored["ranges"].items()}
        return cls(ranges, stored["categories"])


def _counts(field: Field, seen: list[float]) -> dict[str, int]:
    names = [str(field.value(number)).lower() for number in seen]
    return {name: names.count(name) for name in sorted(set(names))}
