"""The cross-fitted ensemble of survival: a Cox score, hazards boosted from it, and hazards boosted freely.

Follow-up is cut into intervals, in each of which the log odds of the event are modelled. Without each fold of
the patients in turn a ridge-penalised Cox model is fitted, hazards are boosted that start from its score, and
others that start from the disease's life table; the fold left out says when boosting stops. Held-out
predictions weigh the three kinds. Where trees gain no more likelihood than chance would, as often with few
patients, the model is the ridge Cox score alone; where they gain, mostly the second kind counts as long as
the kinds are hardly told apart, and whatever the likelihood says where patients are many. The trees learn
curved effects, interactions and hazards that are not proportional; a hazard may fall to nearly nothing, so
that a cured fraction remains.

Assumption: censoring says nothing about prognosis given the columns.
Source: Brown, Biometrics 1975;31:863-872; Tutz and Schmid, Modeling Discrete Time-to-Event Data, 2016.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import SURVIVAL
from features.errors import NotFittable
from models.estimators.additive import AdditiveModel
from models.estimators.blending import (
    AdditiveCrossFit,
    Columns,
    HeldOutScores,
    Member,
    blend,
    held_out_scores,
    partly_seen,
    pooled_centres,
    shown_share,
    stratum_means,
    weigh,
)
from models.estimators.boosting import Boosting, boost
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray
from models.estimators.folds import stratified_folds
from models.estimators.slots import SlotRows, chance, interval_edges, life_table, person_intervals
from models.estimators.transforms import IntervalHazards
from models.trees.boosters import Boosters

PRIOR = np.array([0.25, 0.6, 0.15])
FIRMNESS = 15.0
RIDGE_COX = RidgeCox(firmer=(1.0, 10.0, 1000.0))
RIDGE_ALONE = np.array([1.0, 0.0, 0.0])
LEVELLING_STEPS = 8
MANY_PATIENTS, MANY_EVENTS = 2000, 1000
MOST_FOR_COX = 50_000


@dataclass(frozen=True)
class CrossFitted:
    """Fits survival; the same data, settings and seed give the same model.

    ``started`` boosts from the Cox score, ``free`` from the life table; above 1,000 events both learn faster
    and one level deeper, and stop sooner. ``repeats`` is halved above 2,000 patients. ``boosted`` False
    leaves the Cox score alone. The Cox score is learned from up to 50,000 patients of each disease: more
    would not move it by as much as trees correct.
    """

    outcomes: tuple[str, ...] = ("survival",)
    started: Boosting = field(default_factory=Boosting)
    free: Boosting = field(
        default_factory=lambda: Boosting(
            depth=4, learning_rate=0.1, smallest_hessian=5.0, ridge=5.0, parallel=4, row_share=0.6,
            column_share=0.5, patience=15,
        )
    )  # fmt: skip
    intervals: int = 20
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    boosted: bool = True
    cox: RidgeCox | None = None

    type: ClassVar[str] = "cross_fitted"
    kinds: ClassVar[frozenset[str]] = frozenset({SURVIVAL})
    unlearned: ClassVar[float] = 1.1
    exact: ClassVar[bool] = True
    description: ClassVar[str] = (
        "Discrete-time hazards: the mean log odds of ridge-penalised Cox scores, stratified by disease, of "
        "trees boosted from them and of trees boosted freely, cross-fitted and weighted by held-out "
        "likelihood; the Cox scores alone where trees gain no more of it than chance would."
    )

    @staticmethod
    def read(files: Mapping[str, bytes]) -> AdditiveModel:
        return AdditiveModel.from_files(files)

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> AdditiveCrossFit:
        """Fit every fold's models and average them.

        Raises:
            NotFittable: when a stratum has fewer events than folds, or the Cox model does not converge.

        """
        return self.cross_fit_on(X, strata, outcome, splits=self.split(strata, outcome))

    def split(self, strata: IntArray, outcome: Outcome) -> list[IntArray]:
        """Return each patient's fold in each repeat, balanced by stratum, event and follow-up."""
        repeats = self.repeats if len(outcome) < MANY_PATIENTS else max(1, self.repeats // 2)
        return [
            stratified_folds(strata, outcome, folds=self.folds, seed=self.seed + repeat)
            for repeat in range(repeats)
        ]

    def cross_fit_on(
        self,
        X: FloatArray,
        strata: IntArray,
        outcome: Outcome,
        *,
        splits: Sequence[IntArray],
        edges: FloatArray | None = None,
        pooled: bool = False,
    ) -> AdditiveCrossFit:
        """Fit on given folds, an array (patients,) a repeat, and intervals; raises as :meth:`cross_fit`.

        Without ``edges`` (the intervals' ends, in months) intervals are quantiles of the event times. Where
        ``pooled``, diseases have one hazard and one coefficient of each column; a missing value still stands
        at its disease's mean.
        """
        columns = Columns.pooled(X, strata) if pooled else Columns.of(X, strata)
        require_events(columns.strata, outcome, self.folds)
        edges = interval_edges(outcome, count=self.intervals) if edges is None else edges
        rows = person_intervals(outcome, edges)
        members, held, penalty = self._members(columns, outcome, rows, splits)
        kinds = held_out_scores(members, held, columns)
        weights = _weights(kinds, rows) if self.boosted else RIDGE_ALONE
        blended = (
            blend(
                some, weights, columns, outcomes=self.outcomes, transform=IntervalHazards(edges),
                penalty=penalty, chosen={"cox_penalty": penalty},
            ) for some in (members, *([member] for member in members))
        )  # fmt: skip
        model, *alone = (_for_each_disease(one, X, strata) if pooled else one for one in blended)
        level = _level(model.scores(X, strata), columns.strata, rows)
        scores = np.tensordot(weights, kinds, axes=1) + level[columns.strata][:, None]
        return AdditiveCrossFit(
            model=_moved(model, level),
            members=tuple(_moved(one, level) for one in alone),
            held_out=HeldOutScores(model.transform, scores),
            fold_share=1.0 / self.folds,
        )

    def _members(
        self, columns: Columns, outcome: Outcome, rows: SlotRows, splits: Sequence[IntArray]
    ) -> tuple[list[Member], list[BoolArray], float]:
        """Return what was fitted without each fold, whom each member never saw, and the Cox penalty."""
        everyone = self._fit_cox(columns, outcome, np.ones(len(outcome), dtype=bool), self.cox or RIDGE_COX)
        kept = 1.0 - 1.0 / self.folds  # so that fewer patients are shrunk as far as all of them would be
        cox = RidgeCox(penalties=(everyone.penalty * kept,), firmer=(everyone.firmer,))
        held = [fold == out for fold in splits for out in range(self.folds)]
        members = [
            self._member(columns, outcome, rows, out, cox, seed=self.seed + at) for at, out in enumerate(held)
        ]
        return members, held, everyone.penalty

    def _member(
        self, columns: Columns, outcome: Outcome, rows: SlotRows, out: BoolArray, how: RidgeCox, *, seed: int
    ) -> Member:
        """Fit all kinds without the patients held out, who say when boosting stops."""
        cox = self._fit_cox(columns, outcome, ~out, how).coefficients
        score = (columns.centred * cox[columns.strata]).sum(axis=1)
        inside = rows.take(~out[rows.patient] & (rows.weight > 0.0))
        count, nothing = len(columns.means), np.zeros(len(score))
        base = life_table(columns.strata, inside, score, strata_count=count)
        free_base = life_table(columns.strata, inside, nothing, strata_count=count)
        slopes = cox[:, None, :]
        if not self.boosted:
            return Member(base, slopes, None, free_base, None)
        faster = outcome.event.sum() > MANY_EVENTS
        started, free = (_faster(how) if faster else how for how in (self.started, self.free))
        boosted = partial(_stopped, columns.X, rows, out=out, seed=seed)
        return Member(
            base,
            slopes,
            boosted(base[columns.strata] + score[:, None], how=started),
            free_base,
            boosted(free_base[columns.strata], how=free),
        )

    def _fit_cox(self, columns: Columns, outcome: Outcome, train: BoolArray, how: RidgeCox) -> CoxModel:
        """Fit the Cox model to some patients of each disease."""
        some = spaced(columns.strata, outcome, train, most=MOST_FOR_COX)
        return how.fit(columns.centred[some], columns.strata[some], outcome.take(some))


@dataclass(frozen=True)
class CrossFittedCox(CrossFitted):
    """The ridge-penalised Cox score alone, cross-fitted as the ensemble is, without trees."""

    boosted: bool = False

    type: ClassVar[str] = "cox"
    description: ClassVar[str] = (
        "Ridge-penalised Cox scores, stratified by disease, on discrete-time baseline hazards; the mean of "
        "models fitted without each fold in turn."
    )


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


def _weights(kinds: FloatArray, rows: SlotRows) -> FloatArray:
    """Return the kinds' weights: the ridge Cox score's is one unless trees gain more than chance would.

    Otherwise the weights move from it towards those that the held-out scores ``kinds`` and the prior give, by
    the share of the gain in held-out likelihood that chance does not explain.
    """
    usual = weigh(kinds, rows, prior=PRIOR, firmness=FIRMNESS)
    gained = rows.by_patient(np.tensordot(usual, kinds, axes=1)) - rows.by_patient(kinds[0])
    moved: FloatArray = RIDGE_ALONE + shown_share(gained) * (usual - RIDGE_ALONE)
    return moved


def _faster(how: Boosting) -> Boosting:
    rate, patience = min(0.1, 2.5 * how.learning_rate), max(10, how.patience * 2 // 5)
    return replace(how, learning_rate=rate, depth=how.depth + 1, patience=patience)


def _stopped(
    X: FloatArray, rows: SlotRows, start: FloatArray, *, out: BoolArray, how: Boosting, seed: int
) -> Boosters:
    """Boost for as long as the loss of the patients held out falls."""
    boosted = boost(X, rows, start, held_out=out, how=how, seed=seed, stop_early=True)
    return boosted.keep(int(np.argmin(boosted.losses)) + 1)


def _level(scores: FloatArray, strata: IntArray, rows: SlotRows) -> FloatArray:
    """Return how far to move each stratum's log odds so that as many events are expected as there were.

    A mean of log odds is the log odds of less than the mean probability, the more so the less members agree;
    with few events that is a percentage point or two. Shape (strata,).
    """
    level = np.zeros(int(strata.max()) + 1)
    margins = scores[rows.patient, rows.slot]
    for stratum in range(len(level)):
        inside = strata[rows.patient] == stratum
        score, weight, events = margins[inside], rows.weight[inside], float(rows.event[inside].sum())
        for _ in range(LEVELLING_STEPS):
            probability = chance(score + level[stratum])
            expected = weight * probability
            level[stratum] += (events - float(expected.sum())) / float(expected @ (1.0 - probability))
    return level


def _for_each_disease(model: AdditiveModel, X: FloatArray, strata: IntArray) -> AdditiveModel:
    """Return a model of one stratum, centred as :meth:`Columns.pooled` does, as one of several alike."""
    means, linear = stratum_means(X, strata), model.coefficients[0, 0]
    centred = np.where(partly_seen(X, strata), pooled_centres(X, strata), model.means)
    count, apart = len(means), means - centred
    return replace(
        model,
        base=model.base + (apart @ linear)[:, None],
        means=means,
        coefficients=np.repeat(model.coefficients, count, axis=0),
        hyperparameters=dict(model.hyperparameters) | {"pooled_diseases": float(count)},
    )


def _moved(model: AdditiveModel, level: FloatArray) -> AdditiveModel:
    return replace(model, base=model.base + level[:, None])
