"""Links: the scale on which an endpoint's probabilities are explained and their intervals drawn.

Survival S has the log of its cumulative hazard, log(-log S); an incidence F the complementary log-log,
log(-log(1 - F)); a response its log odds. An endpoint declares which. All are kept finite: a probability p
enters as 1e-9 + (1 - 2e-9) p, so that 0 and 1 have a value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from features.endpoints import COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS
from models.compiled import compiled

IntArray = npt.NDArray[np.int64]

ON_LOG_HAZARD, ON_LOG_LOG, ON_LOG_ODDS = range(3)
EDGE = 1e-9
INSIDE = 1.0 - 2.0 * EDGE


@compiled
def on_link(link: int, probability: float) -> float:
    """Return a probability on the link's scale."""
    p = EDGE + INSIDE * probability
    if link == ON_LOG_HAZARD:
        return float(np.log(-np.log(p)))
    if link == ON_LOG_LOG:
        return float(np.log(-np.log(1.0 - p)))
    return float(np.log(p) - np.log1p(-p))


@compiled
def link_slope(link: int, probability: float) -> float:
    """Return the derivative of :func:`on_link`."""
    p = EDGE + INSIDE * probability
    if link == ON_LOG_HAZARD:
        return float(INSIDE / (p * np.log(p)))
    if link == ON_LOG_LOG:
        return float(-INSIDE / ((1.0 - p) * np.log(1.0 - p)))
    return INSIDE / (p * (1.0 - p))


@compiled
def off_link(link: int, value: float) -> float:
    """Return the probability at a value on the link's scale, within [0, 1]."""
    if link == ON_LOG_HAZARD:
        p = np.exp(-np.exp(value))
    elif link == ON_LOG_LOG:
        p = -np.expm1(-np.exp(value))
    else:
        p = 1.0 / (1.0 + np.exp(-value))
    return float(max(0.0, min(1.0, (p - EDGE) / INSIDE)))


@compiled
def _transform(link: int, back: bool, values: FloatArray, out: FloatArray) -> None:
    for at in range(len(values)):
        out[at] = off_link(link, values[at]) if back else on_link(link, values[at])


@dataclass(frozen=True)
class Link:
    """A smooth monotone function of a probability, by its name and its number in compiled code."""

    name: str
    code: int

    def value(self, probability: FloatArray) -> FloatArray:
        """Return probabilities of any shape on this scale."""
        return self._elementwise(probability, back=False)

    def inverse(self, value: FloatArray) -> FloatArray:
        """Return the probabilities, within [0, 1], at values of any shape on this scale."""
        return self._elementwise(value, back=True)

    def _elementwise(self, values: FloatArray, *, back: bool) -> FloatArray:
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        out = np.empty(len(flat))
        _transform(self.code, back, flat, out)
        return out.reshape(values.shape)


LINKS: Mapping[str, Link] = {
    name: Link(name, code)
    for name, code in (
        (LOG_CUMULATIVE_HAZARD, ON_LOG_HAZARD),
        (COMPLEMENTARY_LOG_LOG, ON_LOG_LOG),
        (LOG_ODDS, ON_LOG_ODDS),
    )
}


def on_both_scales(probability: FloatArray, link: Link) -> FloatArray:
    """Return probabilities (patients, outcomes, times) and their links, (patients, 2, outcomes, times)."""
    return np.stack([probability, link.value(probability)], axis=1)
