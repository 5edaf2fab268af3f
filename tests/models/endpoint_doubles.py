"""Real models of each kind of endpoint, made from few drawn numbers instead of a fit. Synthetic.

Their trees are xgboost's own, grown on curves of single columns: a tree looks at one column and the slot, so
scores are sums of functions of single columns; ``interacting`` lets trees look at several columns.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xgboost

from features.dictionary import FloatArray
from features.endpoints import COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS
from models.estimators.additive import AdditiveModel
from models.estimators.competing import CAUSES, join_causes
from models.estimators.curves import IntArray
from models.estimators.links import LINKS, Link
from models.estimators.transforms import IntervalHazards, NestedOdds
from models.trees.boosters import Block, Boosters

EDGES = np.array([2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0])
LINK_OF = {
    "interval_hazards": LOG_CUMULATIVE_HAZARD,
    "cause_specific_hazards": COMPLEMENTARY_LOG_LOG,
    "nested_odds": LOG_ODDS,
}


def link_of(model: AdditiveModel) -> Link:
    """Return the link that endpoints of the model's kind declare."""
    return LINKS[LINK_OF[model.transform.name]]


def patients(count: int, columns: int, *, seed: int) -> tuple[FloatArray, IntArray]:
    """Draw correlated columns with a tenth of the values missing, and one of two diseases each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, columns)) + rng.normal(size=(count, 1)) * 0.5
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, rng.integers(0, 2, count)


def grown(
    columns: int, slots: int, *, seed: int, steep: float = 0.3, rounds: int = 24, interacting: bool = False
) -> Boosters:
    """Grow trees towards margins that curve with each column, each slot's its own; a gap has one too."""
    rng = np.random.default_rng((seed, slots))
    steepness = rng.normal(0.0, steep, columns) + rng.normal(0.0, steep / 3, (slots, columns))
    gap = rng.normal(0.0, steep / 3, (slots, columns))
    X, _ = patients(1200, columns, seed=seed)
    slot = rng.integers(0, slots, len(X))
    each = np.where(np.isnan(X), gap[slot], np.tanh(X) * steepness[slot])
    margin = each.sum(axis=1)
    if interacting:
        margin += 3.0 * each[:, 0] * np.sign(each[:, 1])
    alone = [] if interacting else [[0, column] for column in range(1, columns + 1)]
    settings = {
        "objective": "reg:squarederror", "base_score": 0.0, "max_depth": 3, "eta": 0.5, "nthread": 1,
        "seed": seed, "interaction_constraints": json.dumps(alone),
    }  # fmt: skip
    data = xgboost.DMatrix(np.column_stack([slot, X]), label=margin, nthread=1)
    model = bytes(xgboost.train(settings, data, rounds).save_raw("json"))
    return Boosters(columns, (Block(slots, ((model, 1.0),)),))


def hazard_double(columns: int, *, seed: int, steep: float = 0.3, interacting: bool = False) -> AdditiveModel:
    """Make hazards in ten intervals of two diseases: linear terms common to all, and trees."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(0.0, steep / 2, columns)
    model = AdditiveModel(
        outcomes=("overall_survival",),
        transform=IntervalHazards(EDGES),
        base=rng.normal(-2.0, 0.2, (2, len(EDGES))) + np.array([[0.0], [0.4]]),
        means=np.tile([[0.1], [-0.2]], columns),
        coefficients=np.tile(linear, (2, 1, 1)),
        trees=grown(columns, len(EDGES), seed=seed, steep=steep, interacting=interacting),
        stretch=np.ones(len(EDGES)),
        shift=np.zeros(len(EDGES)),
        penalties=np.array([20.0]),
    )
    return model.tabulated()


def coarse(model: AdditiveModel, edges: FloatArray) -> AdditiveModel:
    """Return a hazard model without trees, on the first baselines of fewer intervals."""
    count = len(edges)
    return replace(
        model,
        transform=IntervalHazards(edges),
        base=model.base[:, :count],
        trees=None,
        tables=None,
        stretch=np.ones(count),
        shift=np.zeros(count),
    )


def competing_double(
    columns: int,
    *,
    seed: int,
    steep: float = 0.3,
    causes: Sequence[str] = CAUSES,
    uneven: bool = False,
) -> AdditiveModel:
    """Make hazards of several causes; ``uneven``: the last has two intervals of its own and no trees."""
    hazards = [hazard_double(columns, seed=seed + at, steep=steep) for at in range(len(causes))]
    if uneven:
        hazards[-1] = coarse(hazards[-1], EDGES[[3, 9]])
    return join_causes(hazards, tuple(causes)).tabulated()


def response_double(columns: int, *, seed: int, steep: float = 0.5, trees: bool = True) -> AdditiveModel:
    """Make two nested responses, each with linear terms of its own, recalibrated."""
    rng = np.random.default_rng(seed)
    model = AdditiveModel(
        outcomes=("complete_response", "overall_response"),
        transform=NestedOdds(2),
        base=rng.normal(0.0, 0.5, (2, 2)),
        means=rng.normal(0.0, 0.1, (2, columns)),
        coefficients=rng.normal(0.0, steep / 2, (2, 2, columns)),
        trees=grown(columns, 2, seed=seed, steep=steep) if trees else None,
        stretch=np.array([0.9, 1.1]),
        shift=np.array([-0.1, 0.1]),
        penalties=np.array([5.0, 5.0]),
    )
    return model.tabulated()
