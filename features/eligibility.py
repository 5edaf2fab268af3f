"""Eligibility: attrition from the patients read to the patients kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NO_FOLLOW_UP = "no follow-up after the index date"


@dataclass(frozen=True)
class Exclusion:
    """One exclusion criterion and the number of patients it excluded."""

    reason: str
    excluded: int


@dataclass(frozen=True)
class Attrition:
    """A cohort's flow of patients: those read less each exclusion, in order, are those kept."""

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
        steps = [{"reason": step.reason, "excluded": step.excluded} for step in self.exclusions]
        return {"read": self.read, "exclusions": steps, "kept": self.kept}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Attrition":
        return cls(stored["read"], tuple(Exclusion(**step) for step in stored["exclusions"]))


def has_follow_up(months_followed: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return, shape (patients,), who has follow-up after the index date; a missing time counts as followed.

    Patients without follow-up carry no information on survival.
    """
    followed: npt.NDArray[np.bool_] = months_followed != 0
    return followed
