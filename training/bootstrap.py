"""Bootstrap intervals over patients, fast enough to stand beside every metric.

Each sample only changes how often a patient counts, so pairs and per-patient scores are computed once and
re-weighted. The censoring weights stay those of the full group.
"""

from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from models.estimators.curves import IntArray
from training import metrics

ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class BootstrapSamples:
    """How often each patient counts in each bootstrap sample, shape (patients, samples)."""

    counts: FloatArray

    @classmethod
    def draw(cls, patients: int, *, samples: int, seed: int) -> "BootstrapSamples":
        """Draw samples with replacement."""
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(patients, np.full(patients, 1.0 / patients), size=samples)
        return cls(drawn.T.astype(np.float64))

    @classmethod
    def once(cls, patients: int) -> "BootstrapSamples":
        """Return the one sample in which every patient counts once: the patients themselves."""
        return cls(np.ones((patients, 1)))

    def concordance(
        self, risk: FloatArray, outcome: Outcome, *, until: float, weight: FloatArray
    ) -> FloatArray:
        """Return the weighted concordance in every sample, shape (samples,)."""
        won, usable = np.zeros(self.counts.shape[1]), np.zeros(self.counts.shape[1])
        dead = np.flatnonzero(outcome.event & (outcome.duration < until))
        for at in range(0, len(dead), ROWS_AT_ONCE):
            rows = dead[at : at + ROWS_AT_ONCE]
            pairs = weight[rows, None] * metrics.outlives(outcome, rows)
            won, usable = self._compared(risk, rows, pairs, won, usable)
        return _share(won, usable)

    def competing_concordance(
        self, risk: FloatArray, outcome: CompetingOutcome, cause: int, *, until: float
    ) -> FloatArray:
        """Return the concordance of one cause, weighted against censoring, in every sample, (samples,)."""
        won, usable = np.zeros(self.counts.shape[1]), np.zeros(self.counts.shape[1])
        had = np.flatnonzero((outcome.cause == cause) & (outcome.duration < until))
        for at in range(0, len(had), ROWS_AT_ONCE):
            rows = had[at : at + ROWS_AT_ONCE]
            pairs = metrics.competing_pairs(outcome, cause, rows)
            won, usable = self._compared(risk, rows, pairs, won, usable)
        return _share(won, usable)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean of a per-patient value in every sample, shape (samples,)."""
        means: FloatArray = values @ self.counts / self.counts.sum(axis=0)
        return means

    def observed_risk(self, outcome: Outcome, *, horizon: float) -> FloatArray:
        """Return one minus Kaplan-Meier at the horizon in every sample, shape (samples,)."""
        hazard = self._hazard(outcome, horizon=horizon)
        observed: FloatArray = 1.0 - np.prod(1.0 - hazard, axis=0)
        return observed

    def observed_incidence(self, outcome: CompetingOutcome, cause: int, *, horizon: float) -> FloatArray:
        """Return the Aalen-Johansen incidence of a cause at the horizon in every sample, (samples,)."""
        free = np.cumprod(1.0 - self._hazard(outcome.any_event(), horizon=horizon), axis=0)
        before = np.concatenate([np.ones((1, free.shape[1])), free])[:-1]
        own = self._hazard(Outcome(outcome.duration, outcome.cause == cause), horizon=horizon)
        incidence: FloatArray = (before * own).sum(axis=0)
        return incidence

    def _hazard(self, outcome: Outcome, *, horizon: float) -> FloatArray:
        """Return the share of those at risk with the event, at each distinct time up to the horizon."""
        order = np.argsort(outcome.duration, kind="stable")
        counts, duration, event = self.counts[order], outcome.duration[order], outcome.event[order]
        times, first = np.unique(duration, return_index=True)
        at_risk = np.cumsum(counts[::-1], axis=0)[::-1][first]
        events = np.add.reduceat(counts * event[:, None], first, axis=0)
        share = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
        hazard: FloatArray = share[times <= horizon]
        return hazard

    def _compared(
        self, risk: FloatArray, rows: IntArray, pairs: FloatArray, won: FloatArray, usable: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add these rows' pairs to the weight of the pairs won and of those compared."""
        own = self.counts[rows]
        wins = pairs * metrics.precedes(risk, rows)
        won = won + (own * (wins @ self.counts)).sum(axis=0)
        return won, usable + (own * (pairs @ self.counts)).sum(axis=0)


def _share(won: FloatArray, usable: FloatArray) -> FloatArray:
    share: FloatArray = np.divide(won, usable, out=np.full(won.shape, np.nan), where=usable > 0)
    return share
