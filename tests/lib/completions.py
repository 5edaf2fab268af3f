"""Completions made for tests: of rows that are complete as they are, and of rows drawn at random."""

import numpy as np

from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.patient.completion import Completions
from models.patient.draws import Told


def complete_rows(X: FloatArray, predictors: int) -> Completions:
    """Return patients of whom nothing was drawn, encoded as ``X`` (patients, columns)."""
    unknown = np.zeros((len(X), predictors), dtype=bool)
    return Completions(X, np.ones(len(X)), np.arange(len(X)), unknown, (None,) * len(X))


def drawn_rows(X: FloatArray, owner: IntArray, predictors: int, *, draws: int, seed: int) -> Completions:
    """Return patients some of whose predictors were drawn, those of row 0 and of every third one excepted.

    An unknown predictor's columns have normal deviates, in which the known predictors before it have a part;
    ``owner`` (columns,) is the predictor that a column shows. Weights are uneven.
    """
    rng, rows, weights, told = np.random.default_rng(seed), [], [], []
    unknown = np.zeros((len(X), predictors), dtype=bool)
    for at, x in enumerate(X):
        some = 0 if at % 3 == 0 else int(rng.integers(1, owner.max() + 1))
        gaps = np.sort(rng.permutation(np.unique(owner))[:some])
        if not some:
            rows.append(x[None])
            weights.append(np.ones(1))
            told.append(None)
            continue
        unknown[at, gaps] = True
        known = np.setdiff1d(np.unique(owner), gaps)
        means, drawn = rng.normal(0.0, 0.3, (some, len(known))), rng.normal(size=(draws, some))
        own = np.repeat(x[None], draws, axis=0)
        for place, gap in enumerate(gaps):
            columns = np.flatnonzero(owner == gap)
            own[:, columns] = (means[place].sum() + drawn[:, [place]]) * rng.choice([-1.0, 1.0], len(columns))
        even = rng.random(draws) + 0.1
        rows.append(own)
        weights.append(even / even.sum())
        told.append(Told(gaps, known, means, drawn))
    counts = [len(own) for own in rows]
    first = np.cumsum([0, *counts])[:-1].astype(np.int64)
    return Completions(np.vstack(rows), np.concatenate(weights), first, unknown, tuple(told))
