"""Stand-ins for fitted models of each kind of endpoint, with curved shares and known scores. Synthetic."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from models.estimators.hazard import HazardModel, exposure

from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.interface import Parts

EDGES = np.array([2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0])


@dataclass(frozen=True)
class Additive:
    """Scores whose shares are curved functions of single columns; a missing value has a share of its own."""

    steepness: FloatArray  # (scores, columns)
    missing: FloatArray  # (scores, columns)
    strata: FloatArray  # (strata, scores)

    def parts(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Parts:
        steepness, missing = self.widened(self.steepness, times), self.widened(self.missing, times)
        shown = np.where(np.isnan(X), 0.0, np.tanh(X))[:, None, :] * steepness
        shares = np.where(np.isnan(X)[:, None, :], missing, shown)
        return Parts(shares, self.by_stratum(times)[strata], np.zeros(len(steepness)))

    def widened(self, by_score: FloatArray, times: FloatArray) -> FloatArray:
        return by_score

    def by_stratum(self, times: FloatArray) -> FloatArray:
        return self.strata

    def scores(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        return self.parts(X, strata, times).total()

    def slopes(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Differentiate by complex steps: exact to rounding."""
        steps = []
        for at in range(scores.shape[1]):
            moved = scores.astype(np.complex128)
            moved[:, at] += 1e-30j
            steps.append(self.probabilities(moved, times).imag / 1e-30)
        return np.stack(steps, axis=-1)

    def probabilities(self, scores, times):
        raise NotImplementedError

    def files(self) -> Mapping[str, bytes]:
        return {}


@dataclass(frozen=True)
class MixtureDouble(Additive):
    """Two curves averaged; scores are Cox at each time, log odds of each interval, the Cox curve's weight."""

    outcomes = ("survival",)
    timed = True

    def widened(self, by_score, times):
        return np.vstack([np.repeat(by_score[:1], len(times), axis=0), by_score[1:]])

    def by_stratum(self, times):
        cox = np.log(times / 40.0) * 1.2 + self.strata[:, :1]
        return np.hstack([cox, self.strata[:, 1:]])

    def probabilities(self, scores, times):
        count = len(times)
        cox = np.exp(-np.exp(scores[:, :count]))
        boosted = np.exp(-np.log(1.0 + np.exp(scores[:, count:-1])) @ exposure(EDGES, times).T)
        weight = scores[:, -1:]
        return (weight * cox + (1.0 - weight) * boosted)[:, None, :]


@dataclass(frozen=True)
class CurvedTrees:
    """What boosted trees are to a hazard model, from curved shares instead."""

    shares: Additive

    def contributions(self, X):
        return self.shares.parts(X, np.zeros(len(X), dtype=np.int64), EDGES).columns

    def margins(self, X):
        return self.contributions(X).sum(axis=2) + self.expected()

    def expected(self):
        return np.full(len(EDGES), 0.05)


@dataclass(frozen=True)
class CompetingDouble(Additive):
    """Two causes with constant log hazards in each interval."""

    outcomes = ("event_free", "relapse", "non_relapse_mortality")
    timed = True

    def probabilities(self, scores, times):
        hazard = np.exp(scores.reshape(len(scores), 2, len(EDGES)))
        total = hazard.sum(axis=1)[:, None, :]
        lived = exposure(EDGES, times)
        whole = np.cumsum(total * lived, axis=2)
        before = np.exp(-(whole - total * lived))
        ended = before * (1.0 - np.exp(-total * lived))
        incidence = [(ended * (hazard[:, [cause]] / total)).sum(axis=2) for cause in (0, 1)]
        return np.stack([np.exp(-whole[:, :, -1]), *incidence], axis=1)


@dataclass(frozen=True)
class ResponseDouble(Additive):
    """Two responses, the complete one rarer than the overall: CR = ORR x a share."""

    outcomes = ("complete_response", "overall_response")
    timed = False

    def probabilities(self, scores, times):
        overall, of_those = (1.0 / (1.0 + np.exp(-scores[:, at])) for at in (0, 1))
        return np.stack([overall * of_those, overall], axis=1)[:, :, None]


def mixture_double(columns: int, *, seed: int, steep: float = 0.3) -> MixtureDouble:
    rng = np.random.default_rng(seed)
    intervals = len(EDGES)
    common = rng.normal(0.0, steep, columns)
    boosted = common + rng.normal(0.0, steep / 3, (intervals, columns))
    steepness = np.vstack([common, boosted, np.zeros(columns)])
    missing = np.vstack([np.zeros(columns), rng.normal(0.0, 0.1, (intervals, columns)), np.zeros(columns)])
    log_odds = rng.normal(-2.0, 0.2, (2, intervals))
    return MixtureDouble(steepness, missing, np.hstack([[[-0.2], [0.4]], log_odds, [[0.3], [0.8]]]))


def hazard_double(columns: int, *, seed: int, steep: float = 0.3) -> HazardModel:
    """Make the product's own hazard model, with curved shares for its trees."""
    rng = np.random.default_rng(seed)
    intervals = len(EDGES)
    common = rng.normal(0.0, steep, columns)
    shares = Additive(
        common + rng.normal(0.0, steep / 3, (intervals, columns)),
        rng.normal(0.0, 0.1, (intervals, columns)),
        np.zeros((1, intervals)),
    )
    base, linear = rng.normal(-2.0, 0.2, (2, intervals)), rng.normal(0.0, steep / 2, columns)
    means, both = np.full((2, columns), 0.1), np.tile(linear, (2, 1))
    return HazardModel("overall_survival", EDGES, base, means, both, CurvedTrees(shares), {})


def competing_double(columns: int, *, seed: int) -> CompetingDouble:
    rng = np.random.default_rng(seed)
    scores = 2 * len(EDGES)
    return CompetingDouble(
        rng.normal(0.0, 0.3, (scores, columns)),
        rng.normal(0.0, 0.1, (scores, columns)),
        rng.normal(-2.5, 0.3, (2, scores)),
    )


def response_double(columns: int, *, seed: int) -> ResponseDouble:
    rng = np.random.default_rng(seed)
    return ResponseDouble(
        rng.normal(0.0, 0.5, (2, columns)), rng.normal(0.0, 0.2, (2, columns)), rng.normal(0.0, 0.5, (2, 2))
    )


def patients(count: int, columns: int, *, seed: int) -> tuple[FloatArray, IntArray]:
    """Draw correlated columns with a tenth of the values missing, and one of two diseases each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, columns)) + rng.normal(size=(count, 1)) * 0.5
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, rng.integers(0, 2, count)
