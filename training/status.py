"""Status: who had an outcome by a horizon, as far as follow-up tells."""

from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from models.estimators.ipcw import known_weight
from training.scoring import FEWEST_EVENTS


@dataclass(frozen=True)
class Status:
    """Whether each patient had the outcome, and the patient's weight, shape (patients,) each.

    Whose status is unknown has weight 0; the others stand for them, inversely to the probability of not
    being censored. Assumption: censoring is independent of prognosis. Source: Gerds, Andersen and Kattan,
    Statistics in Medicine 2014;33:3191-3203.
    """

    event: BoolArray
    weight: FloatArray

    @classmethod
    def by(cls, outcome: Outcome, *, horizon: float) -> "Status":
        """Return who had the event by the horizon, in months."""
        event = outcome.event & (outcome.duration <= horizon)
        return cls(event, known_weight(outcome, np.array([horizon]))[:, 0])

    @classmethod
    def of_cause(cls, outcome: CompetingOutcome, cause: int, *, horizon: float) -> "Status":
        """Return who had this cause by the horizon; who had another by then never has it."""
        happened = (outcome.cause == cause) & (outcome.duration <= horizon)
        return cls(happened, known_weight(outcome.any_event(), np.array([horizon]))[:, 0])

    @classmethod
    def certain(cls, event: BoolArray) -> "Status":
        """Return a status that is known of everyone."""
        return cls(event, np.ones(len(event)))

    @property
    def shortage(self) -> str | None:
        """Say what is too little to judge by: patients with the outcome, or without it; None if neither."""
        known = self.weight > 0.0
        for found, words in (
            (self.event, "with the outcome"),
            (known & ~self.event, "known to be without it"),
        ):
            if (count := int(found.sum())) < FEWEST_EVENTS:
                return f"{count} patients {words}, fewer than {FEWEST_EVENTS}"
        return None
