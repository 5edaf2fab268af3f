"""The joint distribution of a disease's predictors: a Gaussian copula with the training cohort's margins.

Each predictor has a normal score: of a number the normal quantile of its rank, of a category or flag the mean
score of the patients who have it. Scores are correlated and taken as jointly normal, so what a patient's
unknown values plausibly are, given the known ones, follows in closed form. Every plausible value is one that
training saw (of numbers one of 101 quantiles). Categories without an order are ordered along the first
principal component of the other predictors. No patient's row is kept.

Assumption: values are unknown at random given the known ones.

Sources: Rubin, Multiple Imputation for Nonresponse in Surveys, 1987; Hoff, Annals of Applied Statistics
2007;1:265-283 (Gaussian copulas for mixed data); Schaefer and Strimmer, Statistical Applications in Genetics
and Molecular Biology 2005;4:32 (shrinkage of correlations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi
from statistics import NormalDist
from typing import Any

import numpy as np

from features.dictionary import Dictionary, Field, FloatArray
from models.estimators.additive import require_numbers

MOST_KNOTS = 101
FEWEST = 5
FEW = 10.0  # patients without correlation added to each pair
DEFINITE = 1e-3
SMALLEST_EIGENVALUE = 1e-6
LARGEST = 1e3
"""Of scores and edges: a value that one of 20,000 patients has is at 141."""
DIGITS = 5
NORMAL = NormalDist()


@dataclass(frozen=True)
class Margin:
    """One predictor's distribution, its ``values`` (knots,) in the order of their ``scores`` (knots,).

    Values are numbers in the dictionary's unit, or positions of categories and flags. A normal deviate stands
    for the first value whose ``edges`` (knots,) lies above it; the last edge is infinite.
    """

    values: FloatArray
    scores: FloatArray
    edges: FloatArray

    @classmethod
    def of(cls, values: FloatArray, counts: FloatArray) -> "Margin":
        """Take values, in the order that their scores shall have, and how many patients have each."""
        share = counts / counts.sum()
        inner = normal_quantiles(np.cumsum(share)[:-1])
        density = np.concatenate([[0.0], np.exp(-0.5 * inner**2) / np.sqrt(2.0 * pi), [0.0]])
        scores = (density[:-1] - density[1:]) / share
        spread = np.sqrt((share * scores**2).sum())
        return cls(values, _short(scores / (spread or 1.0)), np.append(_short(inner), np.inf))

    def score(self, values: FloatArray) -> FloatArray:
        """Return the scores of values, shape (patients,): NaN where unknown; at an end's beyond the ends."""
        order = np.argsort(self.values)
        found = np.interp(values, self.values[order], self.scores[order])
        return np.where(np.isnan(values), np.nan, found)

    def check(self, field: Field) -> None:
        """Raise ValueError where the parts are no margin's of this predictor.

        Compiled code looks for values in rising order, and until a deviate lies below an edge.
        """
        name, count = f"margin of {field.name}", len(self.edges)
        for part, size in ((self.values, count), (self.scores, count), (self.edges[:-1], count - 1)):
            require_numbers(name, part, (size,))
        rising = (np.diff(self.edges[:-1]) >= 0.0).all() and (np.diff(self.scores) >= 0.0).all()
        moderate = max(np.abs(self.scores).max(), np.abs(self.edges[:-1]).max(initial=0.0)) <= LARGEST
        if field.type in ("category", "flag"):
            known = np.isin(self.values, np.arange(len(field.categories) or 2)).all()
            allowed = bool(known) and np.unique(self.values).size == count
        else:
            low = -np.inf if field.minimum is None else field.minimum
            high = np.inf if field.maximum is None else field.maximum
            within = low <= self.values[0] <= self.values[-1] <= high
            allowed = bool(within) and bool((np.diff(self.values) > 0.0).all())
        if not (rising and moderate and allowed):
            raise ValueError(f"{name} is not as it must be")


@dataclass(frozen=True)
class JointDistribution:
    """One disease's margins, by predictor, and the correlation of their scores, in the same order."""

    margins: Mapping[str, Margin]
    correlation: FloatArray

    @classmethod
    def fit(cls, fields: Sequence[Field], values: Mapping[str, FloatArray]) -> "JointDistribution":
        """Estimate the distribution from training patients, ``values[name]`` (patients,), NaN where unknown.

        Predictors of which fewer than five patients' values are known are left out.
        """
        known = {f.name: f for f in fields if (~np.isnan(values[f.name])).sum() >= FEWEST}
        nominal = [name for name, f in known.items() if f.type == "category" and not f.ordered]
        margins = {
            name: _margin(f, values[name], np.unique(values[name][~np.isnan(values[name])]))
            for name, f in known.items()
        }
        component = _first_component([margins[n].score(values[n]) for n in margins if n not in nominal])
        for name in nominal:
            order = _along(component, values[name], margins[name].values)
            margins[name] = _margin(known[name], values[name], order)
        scores = [margin.score(values[name]) for name, margin in margins.items()]
        return cls(margins, correlation_of(np.column_stack(scores) if scores else np.zeros((0, 0))))

    def check(self, dictionary: Dictionary, disease: str) -> None:
        """Raise ValueError, naming the part, where it is no distribution of the disease's predictors."""
        require_numbers("correlation", self.correlation, (len(self.margins),) * 2)
        sound = (self.correlation == self.correlation.T).all() and (np.diag(self.correlation) == 1.0).all()
        if not sound or np.linalg.eigvalsh(self.correlation).min(initial=1.0) < SMALLEST_EIGENVALUE:
            raise ValueError("correlation is not as it must be")
        for name, margin in self.margins.items():
            if name == "disease" or name not in dictionary or not dictionary[name].applies(disease):
                raise ValueError(f"margin of {name} is not as it must be")
            margin.check(dictionary[name])

    def as_dict(self) -> dict[str, Any]:
        """Return the distribution as JSON values; no patient's row is among them."""
        return {
            "margins": {
                name: {
                    "values": margin.values.tolist(),
                    "scores": margin.scores.tolist(),
                    "edges": margin.edges[:-1].tolist(),
                }
                for name, margin in self.margins.items()
            },
            "correlation": self.correlation.tolist(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "JointDistribution":
        margins = {
            name: Margin(
                read_numbers(own["values"]),
                read_numbers(own["scores"]),
                np.concatenate([read_numbers(own["edges"]), [np.inf]]),
            )
            for name, own in stored["margins"].items()
        }
        correlation = read_numbers(stored["correlation"])
        return cls(margins, correlation if correlation.size else np.zeros((0, 0)))


def correlation_of(Z: FloatArray) -> FloatArray:
    """Estimate a positive definite correlation from scores (patients, predictors), NaN where unknown.

    Each pair uses the patients of whom both are known. All pairs shrink towards 0 by one factor: the more,
    the less they rise above their sampling errors (Schaefer and Strimmer 2005).
    """
    known = (~np.isnan(Z)).astype(np.float64)
    filled = np.nan_to_num(Z, nan=0.0)
    both = known.T @ known
    pairwise = np.clip(filled.T @ filled / (both + FEW), -1.0, 1.0)
    np.fill_diagonal(pairwise, 0.0)
    others = ~np.eye(len(pairwise), dtype=bool)
    noise = ((1.0 - pairwise**2) ** 2 / np.maximum(both - 1.0, 1.0))[others].sum()
    signal = (pairwise**2)[others].sum()
    kept = 1.0 - min(1.0, float(noise / signal)) if signal > 0.0 else 0.0
    sizes, directions = np.linalg.eigh(kept * pairwise + np.eye(len(pairwise)))
    definite = (directions * np.maximum(sizes, DEFINITE)) @ directions.T
    scale = np.sqrt(np.diag(definite))
    return _short((definite + definite.T) / 2.0 / np.outer(scale, scale))


def read_numbers(stored: object) -> FloatArray:
    """Return JSON numbers as an array; raises ValueError where any is none."""
    numbers = np.array(stored)
    if numbers.dtype.kind not in "if":
        raise ValueError("a distribution has what is no number")
    return numbers.astype(np.float64)


def normal_quantiles(shares: FloatArray) -> FloatArray:
    """Return standard normal quantiles of shares (n,) between 0 and 1."""
    return np.array([NORMAL.inv_cdf(share) for share in shares.tolist()])


def _margin(field: Field, values: FloatArray, order: FloatArray) -> Margin:
    """Return a predictor's margin with its known values in this order; of many numbers 101 quantiles."""
    known = values[~np.isnan(values)]
    if field.type in ("number", "integer") and len(order) > MOST_KNOTS:
        known = np.quantile(known, (np.arange(MOST_KNOTS) + 0.5) / MOST_KNOTS, method="inverted_cdf")
        order = np.unique(known)
    counts = (known == order[:, None]).sum(axis=1)
    return Margin.of(order, counts.astype(np.float64))


def _first_component(scores: Sequence[FloatArray]) -> FloatArray | None:
    """Return patients' first principal component, an unknown score standing at 0; None without scores."""
    if not scores:
        return None
    filled = np.nan_to_num(np.array(scores).T, nan=0.0)
    component: FloatArray = filled @ np.linalg.eigh(filled.T @ filled)[1][:, -1]
    return component


def _along(component: FloatArray | None, values: FloatArray, categories: FloatArray) -> FloatArray:
    """Return categories in the order of their patients' mean component."""
    if component is None:
        return categories
    means = [component[values == category].mean() for category in categories]
    return categories[np.argsort(means, kind="stable")]


def _short(numbers: FloatArray) -> FloatArray:
    """Round to five significant digits: enough for a plausible value, compact in the bundle."""
    size = np.floor(np.log10(np.maximum(np.abs(numbers), 1e-30)))
    unit = 10.0 ** (DIGITS - 1 - size)
    return np.where(np.abs(numbers) < 1e-12, 0.0, np.round(numbers * unit) / unit)
