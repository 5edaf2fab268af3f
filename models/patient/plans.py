"""Plans: how many training patients had each treatment plan, the support of a comparison between plans."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.cohort import Cohort
from features.dictionary import Dictionary

GROUP = "plan"
Pattern = tuple[object, ...]


@dataclass(frozen=True)
class Plans:
    """The plans of the training patients, by disease.

    ``names`` are the plan's fields among the predictors; ``patterns[disease]`` has each combination of their
    values, in that order, and how many patients had it, the most frequent first.
    """

    names: tuple[str, ...]
    patterns: Mapping[str, tuple[tuple[Pattern, int], ...]]

    @classmethod
    def fit(cls, cohort: Cohort, *, predictors: tuple[str, ...]) -> "Plans":
        """Count the patients of each disease by their plan's values, None where missing."""
        fields = [f for f in cohort.dictionary.fields if f.group == GROUP and f.name in predictors]
        columns = [[field.value(number) for number in cohort.values[field.name]] for field in fields]
        counted: dict[str, Counter[Pattern]] = {}
        if columns:
            for disease, *pattern in zip(map(str, cohort.text("disease")), *columns, strict=True):
                counted.setdefault(disease, Counter())[tuple(pattern)] += 1
        patterns = {
            disease: tuple(sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))
            for disease, counts in sorted(counted.items())
        }
        return cls(tuple(field.name for field in fields), patterns)

    def support(self, disease: str, plan: Mapping[str, object]) -> int:
        """Return how many training patients of a disease had every value of ``plan`` that is not None."""
        at = {self.names.index(name): value for name, value in plan.items() if value is not None}
        return sum(
            count
            for pattern, count in self.patterns.get(disease, ())
            if all(pattern[place] == value for place, value in at.items())
        )

    def check(self, dictionary: Dictionary) -> None:
        """Raise ValueError where a name is no plan's field, or a pattern has not a value for each."""
        known = [field.name for field in dictionary.fields if field.group == GROUP]
        lengths = {len(pattern) for counts in self.patterns.values() for pattern, _ in counts}
        if not set(self.names) <= set(known) or not lengths <= {len(self.names)}:
            raise ValueError("plans are not as they must be")

    def as_dict(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "patterns": {
                disease: [[list(pattern), count] for pattern, count in counts]
                for disease, counts in self.patterns.items()
            },
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Plans":
        patterns = {
            disease: tuple((tuple(pattern), int(count)) for pattern, count in counts)
            for disease, counts in stored["patterns"].items()
        }
        return cls(tuple(stored["names"]), patterns)
