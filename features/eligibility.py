"""Eligibility: who enters a cohort, and how many were left out for which reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Exclusion:
    """One reason for leaving patients out, and how many it took."""

    reason: str
    excluded: int


@dataclass(frozen=True)
class Attrition:
    """The way from the patients read to the patients kept; no patient disappears uncounted."""

    read: int
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def kept(self) -> int:
        """Return the number of patients left after every exclusion."""
        return self.read - sum(step.excluded for step in self.exclusions)

    def then(self, reason: str, excluded: int) -> "Attrition":
        """Return the attrition with one more exclusion."""
        return Attrition(self.read, (*self.exclusions, Exclusion(reason, excluded)))

    def as_dict(self) -> dict[str, Any]:
        """Return the attrition as plain JSON values."""
        steps = [{"reason": step.reason, "excluded": step.excluded} for step in self.exclusions]
        return {"read": self.read, "exclusions": steps, "kept": self.kept}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Attrition":
        """Read what :meth:`as_dict` wrote."""
        return cls(stored["read"], tuple(Exclusion(**step) for step in stored["exclusions"]))


def has_follow_up(months_followed: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which patients were followed beyond the index date; the others carry no information."""
    followed: npt.NDArray[np.bool_] = months_followed != 0
    return followed
