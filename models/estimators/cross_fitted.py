"""The cross-fitted ensemble: hazards boosted from a Cox model and hazards boosted freely, averaged.

Patients are split into folds, several times over. Without each fold in turn a ridge-penalised Cox model is
fitted, hazards are boosted that start from its score, and others that start from the disease's life table
alone; the fold left out says when boosting stops. The ensemble is the mean of all these models' log odds, so
it is again one sum of a baseline, linear terms and trees, and is explained exactly. Every patient is
predicted by models that never saw them, and these held-out predictions weigh the three kinds (Cox score
alone, boosted from it, boosted freely): mostly the second where they do not tell them apart, as with few
patients, and whatever the likelihood says where there are many.

Large cohorts are boosted without a table of person-intervals (:mod:`models.estimators.stream`), and their Cox score is
learned from up to 50,000 patients of each disease: more would not move it by as much as trees correct.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.errors import NotFittable
from models.estimators.course import life_table
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray, stratified_folds
from models.estimators.hazard import (
    BoostedHazard,
    HazardModel,
    PersonIntervals,
    baseline,
    chance,
    interval_edges,
    linear_terms,
    person_intervals,
)
from models.estimators.interface import CrossFit
from models.estimators.stream import boost_hazard
from models.trees.ensemble import Trees, average, read_trees

PRIOR = np.array([0.25, 0.6, 0.15])
FIRMNESS = 15.0
STEPS = 20
LEVELLING_STEPS = 8
MANY_PATIENTS, MANY_EVENTS = 2000, 1000
MOST_FOR_COX = 50_000


@dataclass(frozen=True)
class CrossFitted:
    """Fits :class:`~models.estimators.hazard.HazardModel`; the same data, settings and seed give the same model.

    ``started`` boosts from the Cox score, ``free`` from the life table; above 1,000 events both learn faster
    and one level deeper. ``repeats`` is halved above 2,000 patients. Above ``most_tabled`` patients xgboost
    is not asked: it would need the table of person-intervals.
    """

    outcome: str = "survival"
    cox: RidgeCox = field(default_factory=RidgeCox)
    started: BoostedHazard = field(default_factory=BoostedHazard)
    free: BoostedHazard = field(
        default_factory=lambda: BoostedHazard(
            depth=4, learning_rate=0.1, smallest_hessian=5.0, ridge=5.0, parallel=4, row_share=0.6,
            column_share=0.5, patience=15,
        )
    )  # fmt: skip
    intervals: int = 20
    folds: int = 5
    repeats: int = 2
    seed: int = 0
    most_tabled: int = 50_000

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> HazardModel:
        """Fit every fold's models and average them.

        Raises:
            NotFittable: when a stratum has fewer events than folds, or the Cox model does not converge.

        """
        return self.cross_fit(X, strata, outcome).model

    def split(self, strata: IntArray, outcome: Outcome) -> list[IntArray]:
        """Return each patient's fold in each repeat, balanced by stratum, event and follow-up."""
        repeats = self.repeats if len(outcome) < MANY_PATIENTS else max(1, self.repeats // 2)
        return [
            stratified_folds(strata, outcome, folds=self.folds, seed=self.seed + repeat)
            for repeat in range(repeats)
        ]

    def cross_fit(
        self,
        X: FloatArray,
        strata: IntArray,
        outcome: Outcome,
        *,
        edges: FloatArray | None = None,
        splits: Sequence[IntArray] | None = None,
    ) -> CrossFit[HazardModel]:
        """Fit, and return beside the model its members and the held-out log odds.

        Without ``edges`` (the intervals' ends) intervals are quantiles of the event times; without ``splits``
        (each patient's fold, an array a repeat) they are :meth:`split`.
        """
        require_events(strata, outcome, self.folds)
        data = _Data.prepare(X, strata, outcome, intervals=self.intervals, edges=edges)
        penalty = data.fit_cox(self.cox, np.ones(len(outcome), dtype=bool)).penalty
        splits = self.split(strata, outcome) if splits is None else splits
        parts: list[_Part] = []
        held_out = np.zeros((3, len(outcome), len(data.edges)))
        for fold in splits:
            for out in range(self.folds):
                part = self._fit_part(data, fold != out, penalty=penalty, seed=self.seed + len(parts))
                held_out[:, fold == out] += part.margins(data, fold == out) / len(splits)
                parts.append(part)
        weights = _weigh(held_out, data.rows)
        chosen = {"cox_penalty": penalty, "models": float(len(parts))}
        chosen |= dict(zip(("weight_cox", "weight_started", "weight_free"), weights.tolist(), strict=True))
        made = partial(_averaged, data=data, weights=weights, outcome=self.outcome, chosen=chosen)
        model = made(parts)
        level = _level(model, data)
        return CrossFit(
            model=_moved(model, level),
            members=tuple(_moved(made([part]), level) for part in parts),
            held_out=np.tensordot(weights, held_out, axes=1) + level[strata, None],
            fold_share=1.0 / self.folds,
        )

    def _fit_part(self, data: "_Data", train: BoolArray, *, penalty: float, seed: int) -> "_Part":
        """Fit both kinds on some patients, stopping by the others."""
        cox = data.fit_cox(RidgeCox(penalties=(penalty,)), train)
        shift = -(cox.means * cox.coefficients).sum(axis=1)
        score = data.centred_terms(cox.coefficients).sum(axis=1) + shift[data.strata]
        nothing = np.zeros(len(score))
        many = data.outcome.event.sum() > MANY_EVENTS
        boost = _boost_on_table if len(score) <= self.most_tabled else _boost_without_table
        started = boost(data, train, score, _faster(self.started) if many else self.started, seed=seed)
        free = boost(data, train, nothing, _faster(self.free) if many else self.free, seed=seed)
        return _Part(started.base + shift[:, None], cox.coefficients, started.trees, free.base, free.trees)


@dataclass(frozen=True)
class _Data:
    """Everyone's columns, centred in their disease with missing values at zero, and their intervals."""

    X: FloatArray
    centred: FloatArray
    means: FloatArray
    strata: IntArray
    outcome: Outcome
    edges: FloatArray
    rows: PersonIntervals

    @classmethod
    def prepare(
        cls,
        X: FloatArray,
        strata: IntArray,
        outcome: Outcome,
        *,
        intervals: int,
        edges: FloatArray | None = None,
    ) -> "_Data":
        count = int(strata.max()) + 1
        means = np.zeros((count, X.shape[1]))
        for stratum in range(count):
            inside = X[strata == stratum]
            seen = ~np.isnan(inside)
            means[stratum] = np.where(seen, inside, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        centred = np.nan_to_num(X - means[strata], nan=0.0)
        edges = interval_edges(outcome, count=intervals) if edges is None else edges
        return cls(X, centred, means, strata, outcome, edges, person_intervals(outcome, edges))

    def fit_cox(self, how: RidgeCox, rows: BoolArray) -> CoxModel:
        """Fit a Cox model on some patients, of a large disease on evenly spaced ones."""
        some = spaced(self.strata, self.outcome, rows, most=MOST_FOR_COX)
        return how.fit(self.centred[some], self.strata[some], self.outcome.take(some))

    def centred_terms(self, coefficients: FloatArray) -> FloatArray:
        terms: FloatArray = self.centred * coefficients[self.strata]
        return terms


@dataclass(frozen=True)
class _Boosted:
    base: FloatArray
    trees: Trees


@dataclass(frozen=True)
class _Part:
    """One fold's two models: hazards started from the Cox score, and free ones."""

    started_base: FloatArray
    coefficients: FloatArray
    started: Trees
    free_base: FloatArray
    free: Trees

    def margins(self, data: _Data, rows: BoolArray) -> FloatArray:
        """Return log odds of some patients, shape (3, patients, intervals): Cox, from it, free."""
        X, strata = data.X[rows], data.strata[rows]
        linear = linear_terms(X, strata, data.means, self.coefficients).sum(axis=1, keepdims=True)
        cox = self.started_base[strata] + linear
        return np.stack([cox, cox + self.started.margins(X), self.free_base[strata] + self.free.margins(X)])


def require_events(strata: IntArray, outcome: Outcome, fewest: int) -> None:
    """Refuse a stratum with fewer events than are needed to learn from it.

    Raises:
        NotFittable: naming the smallest number of events and the number needed.

    """
    events = np.bincount(strata, weights=outcome.event)
    if events.min() < fewest:
        raise NotFittable(
            f"a disease has {int(events.min())} events; {fewest}-fold cross-validation needs {fewest} in each"
        )


def spaced(strata: IntArray, outcome: Outcome, rows: BoolArray, *, most: int) -> IntArray:
    """Return the rows, in order; of a stratum with more than ``most``, evenly spaced ones.

    Events and censorings are spaced apart: their shares stay, and a stratum with any event keeps one.

    >>> eight = Outcome(np.arange(1.0, 9.0), np.arange(8) % 2 == 1)
    >>> spaced(np.zeros(8, dtype=int), eight, np.ones(8, dtype=bool), most=4)
    array([0, 1, 4, 5])
    """
    kept = []
    for stratum in np.unique(strata):
        inside = np.flatnonzero(rows & (strata == stratum))
        events_first = inside[np.argsort(~outcome.event[inside], kind="stable")]
        kept.append(events_first[:: max(1, -(-len(inside) // most))])
    return np.sort(np.concatenate(kept))


def _faster(how: BoostedHazard) -> BoostedHazard:
    return replace(how, learning_rate=min(0.1, 2.5 * how.learning_rate), depth=how.depth + 1)


def _boost_without_table(
    data: _Data, train: BoolArray, score: FloatArray, how: BoostedHazard, *, seed: int
) -> _Boosted:
    """Boost as :func:`_boost_on_table` does, for many patients."""
    known = data.outcome.take(train)
    base = life_table(data.strata[train], known, edges=data.edges, score=score[train])
    trees = boost_hazard(
        data.X, data.strata, data.outcome,
        edges=data.edges, base=base, score=score, how=how, seed=seed, held_out=~train,
    )  # fmt: skip
    return _Boosted(base, trees)


def _boost_on_table(
    data: _Data, train: BoolArray, score: FloatArray, how: BoostedHazard, *, seed: int
) -> _Boosted:
    """Boost on the training patients from a score, as long as the loss of the others falls."""
    import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

    rows, strata = data.rows, data.strata
    inside = train[rows.patient] & (rows.weight > 0.0)
    outside = ~train[rows.patient] & (rows.weight > 0.0)
    base = baseline(strata, rows.take(inside), score, strata_count=len(data.means), intervals=len(data.edges))
    start = base[strata[rows.patient], rows.interval] + score[rows.patient]
    table = np.column_stack([rows.interval, data.X[rows.patient]]).astype(np.float32)
    known, held_out = (
        xgboost.DMatrix(
            table[part], label=rows.event[part], weight=rows.weight[part], base_margin=start[part], nthread=1
        )
        for part in (inside, outside)
    )
    booster = xgboost.train(
        how.settings(seed),
        known,
        how.rounds,
        evals=[(held_out, "held_out")],
        early_stopping_rounds=how.patience,
        verbose_eval=False,
    )
    kept = bytes(booster[: booster.best_iteration + 1].save_raw("json"))
    return _Boosted(base, read_trees(kept, columns=data.X.shape[1], intervals=len(data.edges)))


def _weigh(held_out: FloatArray, rows: PersonIntervals) -> FloatArray:
    """Return the three kinds' weights: held-out log likelihood with a prior as firm as tens of events.

    ``held_out`` has shape (3, patients, intervals).
    """
    margins = held_out[:, rows.patient, rows.interval]
    steps = range(STEPS + 1)
    tried = np.array([(STEPS - s - f, s, f) for s in steps for f in steps if s + f <= STEPS]) / STEPS
    gained = [
        float(rows.weight @ _log_likelihood(w @ margins, rows.event))
        - FIRMNESS * float(((w - PRIOR) ** 2).sum())
        for w in tried
    ]
    best: FloatArray = tried[int(np.argmax(gained))]
    return best


def _log_likelihood(margin: FloatArray, event: FloatArray) -> FloatArray:
    probability = chance(margin)
    logged: FloatArray = np.where(event == 1.0, np.log(probability), np.log1p(-probability))
    return logged


def _level(model: HazardModel, data: _Data) -> FloatArray:
    """Return how far to move each stratum's log odds so that as many events are expected as there were.

    A mean of log odds is the log odds of less than the mean probability, the more so the less members agree;
    with few events that is a percentage point or two. Shape (strata,).
    """
    rows, level = data.rows, np.zeros(len(model.base))
    scores = model.scores(data.X, data.strata, data.edges)[rows.patient, rows.interval]
    for stratum in range(len(level)):
        inside = data.strata[rows.patient] == stratum
        score, weight, events = scores[inside], rows.weight[inside], float(rows.event[inside].sum())
        for _ in range(LEVELLING_STEPS):
            probability = chance(score + level[stratum])
            expected = weight * probability
            level[stratum] += (events - float(expected.sum())) / float(expected @ (1.0 - probability))
    return level


def _moved(model: HazardModel, level: FloatArray) -> HazardModel:
    return replace(model, base=model.base + level[:, None])


def _averaged(
    parts: Sequence[_Part], data: _Data, weights: FloatArray, *, outcome: str, chosen: Mapping[str, float]
) -> HazardModel:
    """Return the weighted mean of all parts' log odds as one model."""
    _, started, free = weights.tolist()
    base = np.mean([(1.0 - free) * p.started_base + free * p.free_base for p in parts], axis=0)
    coefficients = (1.0 - free) * np.mean([p.coefficients for p in parts], axis=0)
    members = [(p.started, started / len(parts)) for p in parts]
    members += [(p.free, free / len(parts)) for p in parts]
    trees = average([(trees, weight) for trees, weight in members if weight > 0.0] or members[:1])
    return HazardModel(outcome, data.edges, base, data.means, coefficients, trees, chosen)
