"""Boosting by xgboost: trees on the columns and the slot, from a given start, judged by patients held out.

A large cohort is read through an iterator, some rows at a time, each value kept as a bin of one byte, so that
a million patients with twenty intervals each fit into memory without their table being made. A smaller one
is handed over whole, which xgboost boosts several times faster where values are missing; the bins are the
same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray
from features.dictionary import FloatArray
from models.estimators.slots import SlotRows
from models.trees.boosters import Block, Boosters

AT_ONCE = 1 << 19
MOST_WHOLE = 1 << 27
"""Numbers up to which a table, columns and slots, is handed over whole: half a gigabyte."""


@dataclass(frozen=True)
class Boosting:
    """How trees are boosted, with plain logistic loss.

    ``smallest_hessian`` and ``ridge`` act on events: xgboost's Hessian sums to about their number. With
    ``patience`` boosting stops when the held-out loss has not fallen for that many rounds. ``parallel`` trees
    a round, each on a share of the rows and, at every split, of the columns, make a boosted forest.
    """

    depth: int = 3
    learning_rate: float = 0.03
    rounds: int = 400
    smallest_hessian: float = 10.0
    ridge: float = 10.0
    parallel: int = 1
    row_share: float = 1.0
    column_share: float = 1.0
    patience: int = 30

    def settings(self, seed: int) -> dict[str, object]:
        """Return xgboost's settings; one thread, so that sums have one order."""
        return {
            "objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist",
            "max_depth": self.depth, "eta": self.learning_rate, "min_child_weight": self.smallest_hessian,
            "lambda": self.ridge, "num_parallel_tree": self.parallel, "subsample": self.row_share,
            "colsample_bynode": self.column_share, "nthread": 1, "seed": seed, "base_score": 0.5,
        }  # fmt: skip


@dataclass(frozen=True)
class Boosted:
    """A boosted model, the loss of the held-out rows after each round, and how to keep its first rounds."""

    losses: FloatArray
    keep: Callable[[int], Boosters]


def boost(
    X: FloatArray,
    rows: SlotRows,
    start: FloatArray,
    *,
    held_out: BoolArray,
    how: Boosting,
    seed: int,
    stop_early: bool,
) -> Boosted:
    """Boost on the patients who are not held out, from the log odds ``start`` (patients, slots).

    ``X`` has shape (patients, columns), ``held_out`` (patients,). The mean loss of the held-out rows is
    recorded after every round; where ``stop_early``, boosting ends when it has not fallen for ``patience``
    rounds.
    """
    import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

    judged = held_out[rows.patient]
    weighty = rows.weight > 0.0
    train, test = rows.take(~judged & weighty), rows.take(judged & weighty)
    if len(rows) * (X.shape[1] + 1) <= MOST_WHOLE:
        known, others = (xgboost.DMatrix(**_table(X, part, start), nthread=1) for part in (train, test))
    else:
        known = xgboost.QuantileDMatrix(_batches(X, train, start), nthread=1)
        others = xgboost.QuantileDMatrix(_batches(X, test, start), ref=known, nthread=1)
    told: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        how.settings(seed),
        known,
        how.rounds,
        evals=[(others, "held_out")],
        evals_result=told,
        early_stopping_rounds=how.patience if stop_early else None,
        verbose_eval=False,
    )

    def keep(rounds: int) -> Boosters:
        model = bytes(booster[:rounds].save_raw("json"))
        return Boosters(X.shape[1], (Block(rows.slots, ((model, 1.0),)),))

    return Boosted(np.array(told["held_out"]["logloss"]), keep)


def _table(
    X: FloatArray, rows: SlotRows, start: FloatArray, some: slice = slice(None)
) -> dict[str, npt.NDArray[Any]]:
    """Return some rows as xgboost takes them: slot and columns, label, weight and starting margin."""
    patient, slot = rows.patient[some], rows.slot[some]
    table = np.empty((len(patient), X.shape[1] + 1), dtype=np.float32)
    table[:, 0], table[:, 1:] = slot, X[patient]
    return {
        "data": table,
        "label": rows.event[some],
        "weight": rows.weight[some],
        "base_margin": start[patient, slot],
    }


def _batches(X: FloatArray, rows: SlotRows, start: FloatArray) -> Any:
    """Return an iterator over the rows as xgboost asks for them."""
    import xgboost  # noqa: PLC0415  as above

    class Batches(xgboost.DataIter):
        def __init__(self) -> None:
            self.first = 0
            super().__init__()

        def next(self, input_data: Callable[..., None]) -> bool:
            if self.first >= max(len(rows), 1):
                return False
            input_data(**_table(X, rows, start, slice(self.first, self.first + AT_ONCE)))
            self.first += AT_ONCE
            return True

        def reset(self) -> None:
            self.first = 0

    return Batches()
