"""Bootstrap intervals over patients, fast enough to stand beside every metric.

Each sample only changes how often a patient counts, so pairs and per-patient scores are computed once and
re-weighted. The censoring weights stay those of the full group.
"""

from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
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

    def concordance(
        self, risk: FloatArray, outcome: Outcome, *, until: float, weight: FloatArray
    ) -> FloatArray:
        """Return the weighted concordance in every sample, shape (samples,)."""
        won, usable = np.zeros(self.counts.shape[1]), np.zeros(self.counts.shape[1])
        dead = np.flatnonzero(outcome.event & (outcome.duration < until))
        for at in range(0, len(dead), ROWS_AT_ONCE):
            rows = dead[at : at + ROWS_AT_ONCE]
            later = metrics.outlives(outcome, rows)
            wins = later * ((risk < risk[rows, None]) + 0.5 * (risk == risk[rows, None]))
            own = weight[rows, None] * self.counts[rows]
            won += (own * (wins @ self.counts)).sum(axis=0)
            usable += (own * (later @ self.counts)).sum(axis=0)
        concordance: FloatArray = np.divide(won, usable, out=np.full(won.shape, np.nan), where=usable > 0)
        return concordance

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean of a per-patient value in every sample, shape (samples,)."""
        means: FloatArray = values @ self.counts / self.counts.sum(axis=0)
        return means

    def observed_risk(self, outcome: Outcome, *, horizon: float) -> FloatArray:
        """Return one minus Kaplan-Meier at the horizon in every sample, shape (samples,)."""
        order = np.argsort(outcome.duration, kind="stable")
        counts, duration, event = self.counts[order], outcome.duration[order], outcome.event[order]
        times, first = np.unique(duration, return_index=True)
        at_risk = np.cumsum(counts[::-1], axis=0)[::-1][first]
        deaths = np.add.reduceat(counts * event[:, None], first, axis=0)
        share = np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
        observed: FloatArray = 1.0 - np.prod(1.0 - share[times <= horizon], axis=0)
        return observed
