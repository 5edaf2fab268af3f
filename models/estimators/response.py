"""Response and toxicity: log odds that are sums, of one outcome or of several nested ones, cross-fitted.

Outcomes are ordered from the strictest to the broadest (complete response, overall response, disease
control); whoever has one has every broader one. Each outcome has one score, the log odds of it among those
who have the next broader one, so p(complete) = p(control) x p(response | control) x p(complete | response):
the probabilities are coherent whatever the scores. One outcome alone is the logistic model.

Without each fold of the patients in turn a ridge-penalised logistic regression is fitted, trees are boosted
that start from its score, and others that start from the disease's frequency alone. The held-out folds
together choose the penalty, the numbers of trees, the three kinds' weights (mostly the regression's where
events are few) and a recalibration. The model is the mean of all members' scores.

Assumption: whose outcome is unknown does not differ from the others, given the columns.
Source: continuation ratios, Agresti, Categorical Data Analysis, 2013, ch. 8.3; penalty by cross-validated
likelihood, le Cessie and van Houwelingen, Applied Statistics 1992;41:191-201; recalibration, Cox,
Biometrika 1958;45:562-565, drawn to none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from features.endpoints import RESPONSE, ResponseOutcome
from features.errors import NotFittable
from models.estimators.additive import AdditiveModel
from models.estimators.blending import (
    AdditiveCrossFit,
    Columns,
    HeldOutScores,
    Member,
    blend,
    held_out_scores,
    weigh,
)
from models.estimators.boosting import Boosting, boost
from models.estimators.cox import is_past
from models.estimators.curves import IntArray
from models.estimators.nested_regression import NestedData, NestedLinear, NestedRegression
from models.estimators.slots import SlotRows, chance
from models.estimators.transforms import NestedOdds
from models.trees.boosters import Boosters

PENALTIES = tuple(float(p) for p in np.geomspace(1000.0, 0.3, 13))
PRIOR = np.array([0.6, 0.2, 0.2])
FIRMNESS = 5.0
RECALIBRATION_FIRMNESS = np.array([100.0, 25.0])
MANY_PATIENTS = 2000


@dataclass(frozen=True)
class CrossFittedResponse:
    """Fits nested outcomes; the same data, settings and seed give the same model.

    ``penalties`` are those tried, falling, in patients' worth of information on a column of standard spread.
    ``boosting`` has the most rounds that are tried; the held-out patients say how many are kept. Above 2,000
    patients there is one repeat, and trees learn faster. ``outcomes`` names what the endpoint may have; the
    cohort decides which of them it tells apart.
    """

    outcomes: tuple[str, ...] = ()
    penalties: tuple[float, ...] = PENALTIES
    boosting: Boosting = field(
        default_factory=lambda: Boosting(
            depth=3, rounds=150, smallest_hessian=5.0, ridge=5.0, row_share=0.6, column_share=0.3
        )
    )
    folds: int = 5
    repeats: int = 3
    seed: int = 0

    type: ClassVar[str] = "cross_fitted"
    kinds: ClassVar[frozenset[str]] = frozenset({RESPONSE})
    unlearned: ClassVar[float] = 0.85
    exact: ClassVar[bool] = True
    description: ClassVar[str] = (
        "Ridge-penalised logistic regression and trees boosted from it, cross-fitted and weighted by "
        "held-out likelihood; wider responses include narrower ones."
    )

    @staticmethod
    def read(files: Mapping[str, bytes]) -> AdditiveModel:
        return AdditiveModel.from_files(files)

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: ResponseOutcome) -> AdditiveCrossFit:
        """Fit, and return beside the model its members and the held-out scores of every patient.

        An outcome that is not known of a patient counts for nothing, unless another implies it.

        Raises:
            InvalidInput: infinite values, or patients with an outcome but without a broader one.
            NotFittable: naming an outcome that fewer patients than folds have, or lack.

        """
        data = NestedData.prepare(X, strata, outcome)
        _require_both(data, self.folds)
        held = self._held_out(data)
        linear, penalty = _regress(data, held, self.penalties)
        members = _boosted(data, held, linear, self.boosting, seed=self.seed)
        columns = Columns(X, data.Z, data.means, strata)
        kinds = held_out_scores(members, held, columns)
        weights = weigh(kinds, data.rows, prior=PRIOR, firmness=FIRMNESS)
        scores = np.tensordot(weights, kinds, axes=1)
        shift, stretch = _recalibration(scores, data.rows)
        transform = NestedOdds(len(data.names))

        def made(some: Sequence[Member]) -> AdditiveModel:
            blended = blend(
                some, weights, columns, outcomes=data.names, transform=transform, penalty=penalty,
                chosen={"penalty": penalty}, scales=data.scales,
            )  # fmt: skip
            return replace(blended, shift=shift, stretch=stretch)

        return AdditiveCrossFit(
            model=made(members),
            members=tuple(made([member]) for member in members),
            held_out=HeldOutScores(transform, shift + stretch * scores),
            fold_share=1.0 / self.folds,
        )

    def _held_out(self, data: NestedData) -> list[BoolArray]:
        """Return whom each member never sees, each patient once a repeat."""
        repeats = self.repeats if len(data.X) < MANY_PATIENTS else 1
        folds = [
            _balanced_folds(data.strata, data.reached, folds=self.folds, seed=self.seed + repeat)
            for repeat in range(repeats)
        ]
        return [fold == out for fold in folds for out in range(self.folds)]


def _require_both(data: NestedData, fewest: int) -> None:
    """Refuse an outcome that too few patients have, or lack, to learn from it."""
    for at, name in enumerate(data.names):
        event = data.rows.event[data.rows.slot == at]
        had, lacked = int(event.sum()), int((1.0 - event).sum())
        if min(had, lacked) < fewest:
            among = "" if at + 1 == len(data.names) else f" of those with {data.names[at + 1]}"
            raise NotFittable(
                f"{name}: {had} patients have it and {lacked}{among} do not; "
                f"{fewest}-fold cross-validation needs {fewest} of each"
            )


def _balanced_folds(strata: IntArray, reached: IntArray, *, folds: int, seed: int) -> IntArray:
    """Return each patient's fold, balanced by stratum and by outcomes had."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(strata))
    order = order[np.lexsort((strata[order], reached[order]))]
    assigned = np.empty(len(strata), dtype=np.int64)
    assigned[order] = np.arange(len(strata)) % folds
    return assigned


def _regress(
    data: NestedData, held: Sequence[BoolArray], penalties: Sequence[float]
) -> tuple[list[NestedLinear], float]:
    """Return each member's regression at the penalty whose held-out likelihood is the largest."""
    regressions = [NestedRegression(data, ~out) for out in held]
    judged = [data.rows.take(out[data.rows.patient]) for out in held]
    starts: list[FloatArray | None] = [None] * len(held)
    fits, gained = list[list[NestedLinear]](), list[float]()
    for penalty in penalties:
        solved = [one.fit(penalty, start) for one, start in zip(regressions, starts, strict=True)]
        fits.append([one.linear(at) for one, at in zip(regressions, solved, strict=True)])
        starts = [*solved]
        gained.append(
            sum(rows.log_likelihood(fit.scores(data)) for rows, fit in zip(judged, fits[-1], strict=True))
        )
        if is_past(gained):
            break
    best = int(np.argmax(gained))
    return fits[best], penalties[best]


def _frequencies(data: NestedData, train: BoolArray) -> NestedLinear:
    """Return the regression without columns."""
    bare = replace(data, Z=data.Z[:, :0])
    regression = NestedRegression(bare, train)
    base = regression.linear(regression.fit(1.0)).base
    return NestedLinear(base, np.zeros((*base.shape, data.Z.shape[1])))


def _boosted(
    data: NestedData,
    held: Sequence[BoolArray],
    linear: Sequence[NestedLinear],
    how: Boosting,
    *,
    seed: int,
) -> list[Member]:
    """Boost both kinds for every member."""
    alone = [_frequencies(data, ~out) for out in held]
    started = _boost(data, held, linear, how, seed=seed)
    free = _boost(data, held, alone, how, seed=seed + len(held))
    return [
        Member(one.base, one.slopes, trees, without.base, free_trees)
        for one, trees, without, free_trees in zip(linear, started, alone, free, strict=True)
    ]


def _boost(
    data: NestedData, held: Sequence[BoolArray], start: Sequence[NestedLinear], how: Boosting, *, seed: int
) -> list[Boosters | None]:
    """Boost each member from its start, all by as many rounds as give the least held-out loss together."""
    if len(data.X) >= MANY_PATIENTS:
        how = replace(how, learning_rate=min(0.1, 2.5 * how.learning_rate))
    every, loss = [], np.zeros(how.rounds + 1)
    for at, (out, linear) in enumerate(zip(held, start, strict=True)):
        scores, judged = linear.scores(data), data.rows.take(out[data.rows.patient])
        boosted = boost(data.X, data.rows, scores, held_out=out, how=how, seed=seed + at, stop_early=False)
        every.append(boosted)
        loss += [-judged.log_likelihood(scores), *(len(judged) * boosted.losses)]
    kept = int(np.argmin(loss))
    return [boosted.keep(kept) if kept else None for boosted in every]


def _recalibration(scores: FloatArray, rows: SlotRows) -> tuple[FloatArray, FloatArray]:
    """Return each outcome's shift and stretch of the scores, each shape (outcomes,).

    The calibration line through the held-out scores, turned about their mean. A shift is drawn to 0 with a
    standard error of 0.1 and a stretch to 1 with one of 0.2, so that only many patients move them.
    """
    shift, stretch = np.zeros(scores.shape[1]), np.ones(scores.shape[1])
    for at in range(scores.shape[1]):
        inside = rows.slot == at
        margin, event = scores[rows.patient[inside], at], rows.event[inside]
        middle = margin.mean()
        line = np.column_stack([np.ones(len(margin)), margin - middle])
        moved = np.zeros(2)
        for _ in range(50):
            probability = chance(margin + line @ moved)
            gradient = line.T @ (event - probability) - RECALIBRATION_FIRMNESS * moved
            weighed = line.T * (probability * (1.0 - probability))
            moved = moved + np.linalg.solve(weighed @ line + np.diag(RECALIBRATION_FIRMNESS), gradient)
        shift[at], stretch[at] = moved[0] - moved[1] * middle, 1.0 + moved[1]
    return shift, stretch
