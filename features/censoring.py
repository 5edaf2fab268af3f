"""Censored outcomes: duration and event, and their restriction to a horizon."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """Right-censored times: months from the index date, and whether the event ended them.

    ``duration`` has shape (patients,), every value above zero; ``event`` is False where censored.
    """

    duration: FloatArray
    event: BoolArray

    def __len__(self) -> int:
        return len(self.duration)

    def take(self, rows: npt.NDArray[np.integer[Any]] | BoolArray) -> "Outcome":
        """Return the outcome of the patients in these rows, in their order."""
        return Outcome(self.duration[rows], self.event[rows])


def restrict(outcome: Outcome, *, horizon: float) -> Outcome:
    """Censor everyone still followed at the horizon; an event exactly at the horizon counts.

    >>> restrict(Outcome(np.array([5.0, 30.0]), np.array([True, True])), horizon=24.0)
    Outcome(duration=array([ 5., 24.]), event=array([ True, False]))
    """
    return Outcome(np.minimum(outcome.duration, horizon), outcome.event & (outcome.duration <= horizon))
