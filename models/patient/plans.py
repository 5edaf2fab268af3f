"""Plans: which treatments the training patients had, so that nobody is compared with no one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.cohort import Cohort

GROUP = "plan"
Pattern = tuple[object, ...]


@dataclass(frozen=True)
class Plans:
    """The plans of the training patients of each disease.

    ``names`` are the plan's fields among the predictors; ``patterns`` has, for each disease, each
    combination of their values that was seen and how many patients had it.
    """

    names: tuple[str, ...]
    patterns: Mapping[str, tuple[tuple[Pattern, int], ...]]

    @classmethod
    def fit(cls, cohort: Cohort, *, predictors: tuple[str, ...]) -> "Plans":
        """Count the plans of a cohort."""
        fields = [f for f in cohort.dictionary.fields if f.group == GROUP and f.name in predictors]
        columns = [[field.value(number) for number in cohort.values[field.name]] for field in fields]
        rows = list(zip(*columns, strict=True)) if columns else []
        counted: dict[str, Counter[Pattern]] = {}
        for disease, pattern in zip(map(str, cohort.text("disease")), rows, strict=False):
            counted.setdefault(disease, Counter())[pattern] += 1
        patterns = {
            disease: tuple(sorted(found.items(), key=lambda item: (-item[1], str(item[0]))))
            for disease, found in sorted(counted.items())
        }
        return cls(tuple(field.name for field in fields), patterns)

    def support(self, disease: str, plan: Mapping[str, object]) -> int:
        """Return how many training patients of a disease had everything that a plan names."""
        at = {self.names.index(name): value for name, value in plan.items() if value is not None}
        return sum(
            count
            for pattern, count in self.patterns.get(disease, ())
            if all(pattern[place] == value for place, value in at.items())
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plans as plain JSON values."""
        return {
            "names": list(self.names),
            "patterns": {
                disease: [[list(pattern), count] for pattern, count in found]
                for disease, found in self.patterns.items()
            },
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Plans":
        """Read what :meth:`as_dict` wrote."""
        patterns = {
            disease: tuple((tuple(pattern), int(count)) for pattern, count in found)
            for disease, found in stored["patterns"].items()
        }
        return cls(tuple(stored["names"]), patterns)
