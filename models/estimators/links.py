"""Links: the scale on which an endpoint's model is additive or nearly so, from its probabilities.

Survival has the log of its cumulative hazard, log(-log S); an incidence F the complementary log-log,
log(-log(1 - F)); a response its log odds. All are kept finite: a probability p enters as
1e-9 + (1 - 2e-9) p, which changes nothing that a patient could notice and lets 0 and 1 have a value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from models.estimators.interface import EndpointModel
from models.explanation.aumann_shapley import EDGE, INSIDE, ON_LOG_HAZARD, ON_LOG_LOG, ON_LOG_ODDS


@dataclass(frozen=True)
class Link:
    """A rising or falling smooth function of a probability, its derivative, and its number in kernels."""

    name: str
    transform: Callable[[FloatArray], FloatArray]
    derivative: Callable[[FloatArray], FloatArray]
    code: int

    def value(self, probability: FloatArray) -> FloatArray:
        """Return the probability on this scale."""
        return self.transform(EDGE + INSIDE * probability)

    def slope(self, probability: FloatArray) -> FloatArray:
        """Return the derivative of :meth:`value`."""
        return INSIDE * self.derivative(EDGE + INSIDE * probability)


def _log_hazard(p: FloatArray) -> FloatArray:
    found: FloatArray = np.log(-np.log(p))
    return found


def _log_hazard_slope(p: FloatArray) -> FloatArray:
    found: FloatArray = 1.0 / (p * np.log(p))
    return found


def _log_odds(p: FloatArray) -> FloatArray:
    found: FloatArray = np.log(p) - np.log1p(-p)
    return found


LOG_CUMULATIVE_HAZARD = Link("log_cumulative_hazard", _log_hazard, _log_hazard_slope, ON_LOG_HAZARD)
COMPLEMENTARY_LOG_LOG = Link(
    "complementary_log_log",
    lambda p: _log_hazard(1.0 - p),
    lambda p: -_log_hazard_slope(1.0 - p),
    ON_LOG_LOG,
)
LOG_ODDS = Link("log_odds", _log_odds, lambda p: 1.0 / (p * (1.0 - p)), ON_LOG_ODDS)


def links(model: EndpointModel) -> tuple[Link, ...]:
    """Return the link of each outcome of a model.

    Without time: log odds. With time: the outcome that everyone starts with (its name ends in survival or
    free) has the log of its cumulative hazard, any other accumulates and has the complementary log-log.
    """
    if not model.timed:
        return (LOG_ODDS,) * len(model.outcomes)
    return tuple(
        LOG_CUMULATIVE_HAZARD if name.endswith(("survival", "free")) else COMPLEMENTARY_LOG_LOG
        for name in model.outcomes
    )


def on_both_scales(
    model: EndpointModel, scores: FloatArray, times: FloatArray, linked: tuple[Link, ...]
) -> FloatArray:
    """Return probabilities and their links, shape (patients, 2, outcomes, times)."""
    probability = model.probabilities(scores, times)
    on_link = np.stack([link.value(probability[:, at]) for at, link in enumerate(linked)], axis=1)
    return np.stack([probability, on_link], axis=1)
