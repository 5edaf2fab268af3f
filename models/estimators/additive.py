"""The additive model: scores that are sums by column, and probabilities that follow from them.

Every estimator of this project that is explained exactly fits this one class. A score is a baseline of the
disease, a linear term of each column and boosted trees; what its scores stand for (log odds of intervals, of
intervals and causes, of nested outcomes) is said by its transform.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.curves import IntArray
from models.estimators.transforms import CauseSpecificHazards, Transform, probabilities, read_transform
from models.trees.boosters import Block, Boosters
from models.trees.ensemble import Trees

DOCUMENT, TREES = "model.json", "trees.npz"
BOOSTERS = "booster-"
BOOSTER = BOOSTERS + "{}.json"


class Sums(NamedTuple):
    """A model's scores: ``stretch`` x (base + linear terms + the trees' contributions) + ``constant``.

    ``means`` has shape (strata, columns), ``coefficients`` (strata, 1 or scores, columns), ``base`` (strata,
    scores), ``stretch`` and ``constant`` (scores,). Compiled code takes it.
    """

    means: FloatArray
    coefficients: FloatArray
    base: FloatArray
    stretch: FloatArray
    constant: FloatArray


@compiled
def add_linear(model: Sums, X: FloatArray, strata: IntArray, out: FloatArray) -> None:
    """Add baselines and linear terms to margins (rows, scores), then stretch; missing values add nothing."""
    for r in range(X.shape[0]):
        stratum = strata[r]
        for s in range(out.shape[1]):
            linear = model.coefficients[stratum, min(s, model.coefficients.shape[1] - 1)]
            total = model.base[stratum, s] + out[r, s]
            for c in range(X.shape[1]):
                if not np.isnan(X[r, c]):
                    total += (X[r, c] - model.means[stratum, c]) * linear[c]
            out[r, s] = model.stretch[s] * total + model.constant[s]


@dataclass(frozen=True)
class AdditiveModel:
    """A fitted additive model.

    ``base`` has shape (strata, scores): a patient's scores at the mean of every column; ``means`` (strata,
    columns): where a missing value stands; ``coefficients`` (strata, 1 or scores, columns). The sum is
    multiplied by ``stretch`` (scores,) and moved by ``shift`` (scores,), a recalibration. ``trees`` are the
    boosted trees, None where none helped. ``hyperparameters`` names what the fit chose, ``penalties``
    (outcomes,) the ridge penalty of each outcome, in events.
    """

    outcomes: tuple[str, ...]
    transform: Transform
    base: FloatArray
    means: FloatArray
    coefficients: FloatArray
    trees: Boosters | None
    stretch: FloatArray
    shift: FloatArray
    penalties: FloatArray
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    tables: Trees | None = None

    @property
    def timed(self) -> bool:
        return self.transform.timed

    def predict(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times)."""
        return probabilities(self.transform, self.scores(X, strata), times)

    def scores(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return the scores, shape (patients, scores)."""
        X = np.ascontiguousarray(X)
        scores = self._margins(X)
        add_linear(self.sums, X, strata, scores)
        return scores

    def tree_contributions(self, X: FloatArray, columns: tuple[int, ...] | None = None) -> FloatArray:
        """Return the trees' exact path-dependent SHAP values, shape (patients, scores, columns).

        Rows that differ in these ``columns`` alone are faster together.
        """
        if self.tables is None:
            return np.zeros((len(X), self.base.shape[1], X.shape[1]))
        if columns is None:
            return self.tables.contributions(X)
        return self.tables.contributions_apart(X, columns)

    @cached_property
    def sums(self) -> Sums:
        """Return what the scores are sums of, their constant being the shift alone."""
        return Sums(self.means, self.coefficients, self.base, self.stretch, self.shift)

    @cached_property
    def sums_about_expected(self) -> Sums:
        """Return the same for trees that count from their mean margin, as their contributions do."""
        expected = 0.0 if self.tables is None else self.tables.expected()
        return self.sums._replace(constant=self.shift + self.stretch * expected)

    def tabulated(self) -> "AdditiveModel":
        """Return the same model with its trees as tables, ready to answer and explain."""
        return self if self.trees is None else replace(self, tables=self.trees.tabulate())

    def _margins(self, X: FloatArray) -> FloatArray:
        if self.tables is not None:
            return self.tables.margins(X)
        return np.zeros((len(X), self.base.shape[1])) if self.trees is None else self.trees.margins(X)

    def check(self, *, columns: int, strata: int) -> None:
        """Raise ValueError, naming the part, where the parts are not of so many columns and diseases."""
        self.transform.check()
        scores = self.transform.scores
        shared = self.coefficients.shape[1:2] if self.coefficients.ndim == 3 else (0,)
        shapes = {
            "base": (strata, scores),
            "means": (strata, columns),
            "coefficients": (strata, 1 if shared == (1,) else scores, columns),
            "stretch": (scores,),
            "shift": (scores,),
            "penalties": (self.transform.outcomes,),
        }
        for name, shape in shapes.items():
            require_numbers(name, getattr(self, name), shape)
        if len(set(self.outcomes)) != self.transform.outcomes:
            raise ValueError("outcomes are not as they must be")
        if (self.trees is None) != (self.tables is None):
            raise ValueError("trees are not as they must be")
        if self.tables is not None and (self.tables.columns, self.tables.intervals) != (columns, scores):
            raise ValueError("trees are not as they must be")
        if self.trees is not None and self.tables is not None:
            self.trees.check(self.tables)

    def files(self) -> Mapping[str, bytes]:
        """Return the model as files; the same model gives the same bytes.

        model.json has all but the trees; trees.npz their tables; booster-*.json each block of them as
        xgboost's own JSON, whose rows are the slot's number and the columns.
        """
        plain: dict[str, Any] = {
            "outcomes": list(self.outcomes),
            "transform": self.transform.as_dict(),
            "hyperparameters": dict(self.hyperparameters),
        }
        plain |= {name: getattr(self, name).tolist() for name in ARRAYS}
        files = {DOCUMENT: json.dumps(plain, indent=1, allow_nan=False).encode()}
        if self.trees is None:
            return files
        boosters = {
            BOOSTER.format(at): block.merged() for at, block in enumerate(self.trees.blocks) if block.members
        }
        return files | {TREES: (self.tables or self.trees.tabulate()).to_bytes()} | boosters

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "AdditiveModel":
        stored = json.loads(files[DOCUMENT])
        transform = read_transform(stored["transform"])
        tables = Trees.from_bytes(files[TREES]) if TREES in files else None
        return cls(
            outcomes=tuple(stored["outcomes"]),
            transform=transform,
            trees=_boosters(files, transform, tables),
            tables=tables,
            hyperparameters=stored["hyperparameters"],
            **{name: np.array(stored[name]) for name in ARRAYS},
        )


ARRAYS = ("base", "means", "coefficients", "stretch", "shift", "penalties")


def _boosters(files: Mapping[str, bytes], transform: Transform, tables: Trees | None) -> Boosters | None:
    """Return the boosters that the tables are of, one a cause where there are causes; refuse any other."""
    slots = [transform.scores]
    if isinstance(transform, CauseSpecificHazards):
        slots = [len(edges) for edges in transform.edges]
    names = [] if tables is None else [BOOSTER.format(at) for at in range(len(slots))]
    if any(name.startswith(BOOSTERS) and name not in names for name in files):
        raise ValueError("boosters are not as they must be")
    if tables is None:
        return None
    models = [((files[name], 1.0),) if name in files else () for name in names]
    return Boosters(tables.columns, tuple(map(Block, slots, models)))


def require_numbers(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], *, finite: bool = True
) -> None:
    """Raise ValueError where an array is not of this shape or its numbers are not finite."""
    if array.shape != shape or array.dtype.kind not in "if" or (finite and not np.isfinite(array).all()):
        raise ValueError(f"{name} is not as it must be")
