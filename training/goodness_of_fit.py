"""Goodness of fit: whether whole survival curves are calibrated, over all of the follow-up at once.

A patient's survival probability at the time of the event is uniform when curves are right. Both tests ask
that in ten cells of equal width. Follow-up ends at the curves' last time; assumption: censoring is
independent of prognosis.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from features.censoring import Outcome, restrict
from features.dictionary import FloatArray

CELLS = 10
SMALLEST = 1e-12
FEWEST_EXPECTED = 5.0


@dataclass(frozen=True)
class GoodnessOfFit:
    """A Pearson statistic, its degrees of freedom, and the probability of one as large by chance."""

    statistic: float
    freedom: int

    @property
    def p(self) -> float:
        """Return the p-value; NaN without a degree of freedom."""
        return float(chi2.sf(self.statistic, self.freedom)) if self.freedom else float("nan")


def a_calibration(survival: FloatArray, outcome: Outcome, times: FloatArray) -> GoodnessOfFit:
    """Compare events with those expected in each cell while patients were at risk in it.

    ``survival`` has shape (patients, times). Expected events are each patient's cumulative hazard within the
    cell up to the end of follow-up; cells are joined until five are expected in each. Censoring costs power
    and no validity. Source: Simonsen and Waagepetersen, BMC Medical Research Methodology 2025;25:236, after
    Akritas, JASA 1988;83:222-230.
    """
    observed = restrict(outcome, horizon=float(times[-1]))
    left = at_own_time(survival, observed, times)
    edges = np.linspace(0.0, 1.0, CELLS + 1)
    hazard = -np.log(np.maximum(1.0 - np.minimum(edges, (1.0 - left)[:, None]), SMALLEST))
    expected = np.diff(hazard, axis=1).sum(axis=0)
    cell = np.minimum((CELLS * (1.0 - left)).astype(int), CELLS - 1)
    events = np.bincount(cell[observed.event], minlength=CELLS).astype(np.float64)
    return _joined(events, expected)


def d_calibration(survival: FloatArray, outcome: Outcome, times: FloatArray) -> GoodnessOfFit:
    """Compare the patients in each cell with a tenth; who is censored is spread over the cells still ahead.

    ``survival`` has shape (patients, times). With much censoring the test rarely rejects. Source: Haider,
    Hoehn, Davis and Greiner, Journal of Machine Learning Research 2020;21(85).
    """
    observed = restrict(outcome, horizon=float(times[-1]))
    left = np.maximum(at_own_time(survival, observed, times), SMALLEST)
    edges = np.linspace(0.0, 1.0, CELLS + 1)
    ahead = np.diff(np.minimum(edges, left[:, None]), axis=1) / left[:, None]
    cell = np.minimum((CELLS * left).astype(int), CELLS - 1)
    exactly = np.eye(CELLS)[cell]
    patients = np.where(observed.event[:, None], exactly, ahead).sum(axis=0)
    expected = len(left) / CELLS
    return GoodnessOfFit(float(((patients - expected) ** 2 / expected).sum()), CELLS - 1)


def at_own_time(survival: FloatArray, outcome: Outcome, times: FloatArray) -> FloatArray:
    """Return each patient's survival at the end of follow-up, shape (patients,).

    Between the times of the curves, and from one at month zero to the first, the hazard is constant.
    """
    grid = np.concatenate([[0.0], times])
    hazard = -np.log(np.maximum(np.column_stack([np.ones(len(survival)), survival]), SMALLEST))
    after = np.clip(np.searchsorted(grid, outcome.duration), 1, len(grid) - 1)
    part = (outcome.duration - grid[after - 1]) / (grid[after] - grid[after - 1])
    rows = np.arange(len(survival))
    own = hazard[rows, after - 1] * (1.0 - part) + hazard[rows, after] * part
    left: FloatArray = np.exp(-own)
    return left


def _joined(events: FloatArray, expected: FloatArray) -> GoodnessOfFit:
    """Return Akritas's statistic over cells joined, in order, until enough events are expected in each.

    What is left over at the end joins the last, or is the only cell. The null hypothesis is simple, so every
    cell is a degree of freedom.
    """
    cells: list[tuple[float, float]] = []
    some = more = 0.0
    for found, wanted in zip(events.tolist(), expected.tolist(), strict=True):
        some, more = some + found, more + wanted
        if more >= FEWEST_EXPECTED:
            cells.append((some, more))
            some = more = 0.0
    if more:
        last = cells.pop() if cells else (0.0, 0.0)
        cells.append((last[0] + some, last[1] + more))
    return GoodnessOfFit(sum((found - wanted) ** 2 / wanted for found, wanted in cells), len(cells))
