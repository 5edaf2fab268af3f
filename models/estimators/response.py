"""Response and toxicity: log odds that are sums, of one outcome or of several nested ones, cross-fitted.

Outcomes are ordered from the strictest to the broadest (complete response, overall response, disease
control); whoever has one has every broader one. Each outcome has one score, the log odds of it among those
who have the next broader one, so p(complete) = p(control) x p(response | control) x p(complete | response):
the probabilities are coherent whatever the scores. One outcome alone is the logistic model.

Patients are split into folds, several times over. Without each fold in turn a ridge-penalised logistic
regression is fitted, trees are boosted that start from its score, and others that start from the disease's
frequency alone; the held-out folds together choose the penalty, the numbers of trees, the three kinds'
weights (mostly the regression's where events are few) and a recalibration. The model is the mean of all
members' scores.

Assumption: whose outcome is unknown does not differ from the others, given the columns.
Source: continuation ratios, Agresti, Categorical Data Analysis, 2013, ch. 8.3; penalty by cross-validated
likelihood, le Cessie and van Houwelingen, Applied Statistics 1992;41:191-201; recalibration, Cox,
Biometrika 1958;45:562-565, drawn to none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from features.endpoints import BinaryOutcome
from features.errors import NotFittable
from models.estimators.curves import IntArray
from models.estimators.hazard import BoostedHazard, chance, linear_terms
from models.estimators.interface import CrossFit, Parts
from models.estimators.nested_regression import NestedData, NestedLinear, NestedRegression, Rows
from models.explanation.aumann_shapley import LARGEST_MARGIN, Sums
from models.trees.ensemble import Trees, average, read_trees

PENALTIES = tuple(float(p) for p in np.geomspace(1000.0, 0.3, 13))
PRIOR = np.array([0.6, 0.2, 0.2])
FIRMNESS = 5.0
STEPS = 20
RECALIBRATION_FIRMNESS = np.array([100.0, 25.0])
MANY_PATIENTS = 2000


@dataclass(frozen=True)
class ResponseModel:
    """A fitted model of nested outcomes, the strictest first.

    ``base`` has shape (strata, outcomes): the scores of someone with average columns; ``means`` (strata,
    columns): where a missing value stands; ``coefficients`` (strata, outcomes, columns). ``trees`` have the
    outcome as their interval; None where no tree helped. All of a score is multiplied with ``stretch``
    (outcomes,) and moved by ``shift`` (outcomes,): the recalibration. ``chosen`` names what the fit chose.
    """

    outcomes: tuple[str, ...]
    base: FloatArray
    means: FloatArray
    coefficients: FloatArray
    trees: Trees | None
    stretch: FloatArray
    shift: FloatArray
    chosen: Mapping[str, float]

    @property
    def timed(self) -> bool:
        """Tell that the probabilities do not depend on time."""
        return False

    def scores(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the log odds of each outcome among those with the next broader, (patients, outcomes)."""
        scores = self.base[strata] + self._terms(X, strata).sum(axis=2)
        if self.trees is not None:
            scores = scores + self.trees.margins(X)
        recalibrated: FloatArray = self.shift + self.stretch * scores
        return recalibrated

    def score_changes(self, X: FloatArray, strata: IntArray, columns: Sequence[int]) -> FloatArray:
        """Return by how much scores of rows that differ in these columns alone differ from the first's."""
        linear = self._terms(X, strata)[:, :, columns].sum(axis=2)
        trees = 0.0 if self.trees is None else self.trees.changes(X, columns)
        changes: FloatArray = self.stretch * (linear - linear[0] + trees)
        return changes

    def parts(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Parts:
        """Return the scores split by column: linear terms exactly, trees by exact TreeSHAP."""
        columns, constant = self._terms(X, strata), self.shift
        if self.trees is not None:
            columns = columns + self.trees.contributions(X)
            constant = np.asarray(constant + self.stretch * self.trees.expected(), dtype=np.float64)
        return Parts(columns * self.stretch[:, None], self.base[strata] * self.stretch, constant)

    @cached_property
    def sums(self) -> Sums:
        """Return what the scores are sums of, besides the trees."""
        expected = np.zeros(len(self.outcomes)) if self.trees is None else self.trees.expected()
        constant = self.shift + self.stretch * expected
        return Sums(self.means, self.coefficients, self.base, self.stretch, constant)

    def probabilities(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the outcomes' probabilities, shape (patients, outcomes, 1); the broader, the larger."""
        broadest_first = np.cumprod(chance(scores)[:, ::-1], axis=1, dtype=np.float64)
        return broadest_first[:, ::-1, None]

    def slopes(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the probabilities' derivatives, shape (patients, outcomes, 1, outcomes).

        A probability depends on its own score and on those of the broader outcomes. Beyond log odds of 30 it
        is held constant.
        """
        moving = np.abs(scores) < LARGEST_MARGIN
        broader = np.triu(np.ones((len(self.outcomes), len(self.outcomes))))
        rise = np.where(moving, 1.0 - chance(scores), 0.0)
        found: FloatArray = self.probabilities(scores, times) * broader * rise[:, None, :]
        return found[:, :, None, :]

    def files(self) -> Mapping[str, bytes]:
        """Return the model as one or two files; the same model gives the same bytes."""
        plain = {"outcomes": list(self.outcomes), "chosen": dict(self.chosen)}
        plain |= {name: getattr(self, name).tolist() for name in _ARRAYS}
        files = {"response.json": json.dumps(plain, indent=1, allow_nan=False).encode()}
        return files if self.trees is None else files | {"trees.npz": self.trees.to_bytes()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "ResponseModel":
        """Read what :meth:`files` wrote."""
        stored = json.loads(files["response.json"])
        trees = Trees.from_bytes(files["trees.npz"]) if "trees.npz" in files else None
        arrays = {name: np.array(stored[name]) for name in _ARRAYS}
        return cls(outcomes=tuple(stored["outcomes"]), trees=trees, chosen=stored["chosen"], **arrays)

    def _terms(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return each column's share of the linear scores, shape (patients, outcomes, columns)."""
        coefficients = self.coefficients.transpose(1, 0, 2)
        return np.stack([linear_terms(X, strata, self.means, c) for c in coefficients], axis=1)


_ARRAYS = ("base", "means", "coefficients", "stretch", "shift")


@dataclass(frozen=True)
class CrossFittedResponse:
    """Fits :class:`ResponseModel`; the same data, settings and seed give the same model.

    ``penalties`` are those tried, falling, in patients' worth of information on a column of standard spread.
    ``boosting`` has the most rounds that are tried; the held-out patients say how many are kept. Above 2,000
    patients there is one repeat, and trees learn faster.
    """

    penalties: tuple[float, ...] = PENALTIES
    boosting: BoostedHazard = field(
        default_factory=lambda: BoostedHazard(
            depth=3, rounds=150, smallest_hessian=5.0, ridge=5.0, row_share=0.6, column_share=0.3
        )
    )
    folds: int = 5
    repeats: int = 3
    seed: int = 0

    def fit(self, X: FloatArray, strata: IntArray, outcomes: Mapping[str, BinaryOutcome]) -> ResponseModel:
        """Fit every fold's models and average them; as :meth:`cross_fit`."""
        return self.cross_fit(X, strata, outcomes).model

    def cross_fit(
        self, X: FloatArray, strata: IntArray, outcomes: Mapping[str, BinaryOutcome]
    ) -> CrossFit[ResponseModel]:
        """Fit, and return beside the model its members and the held-out scores of every patient.

        ``outcomes`` are named from the strictest to the broadest. An outcome that is not known of a patient
        counts for nothing, unless another implies it; held-out scores are given for every patient.

        Raises:
            InvalidInput: infinite values, or patients with an outcome but without a broader one.
            NotFittable: naming an outcome that fewer patients than folds have, or lack.

        """
        data = NestedData.prepare(X, strata, outcomes)
        _require_both(data, self.folds)
        held = self._held_out(data)
        linear, chosen = _regress(data, held, self.penalties)
        parts = _boosted(data, held, linear, self.boosting, seed=self.seed)
        kinds = _mean_held_out(held, [part.scores(data, out) for part, out in zip(parts, held, strict=True)])
        weights = _weigh(kinds, data.rows)
        scores = np.tensordot(weights, kinds, axes=1)
        shift, stretch = _recalibration(scores, data.rows)
        chosen |= {"models": float(len(parts)), "rounds_started": float(parts[0].started.rounds)}
        chosen |= {"rounds_free": float(parts[0].free.rounds)}
        chosen |= dict(zip(("weight_ridge", "weight_started", "weight_free"), weights.tolist(), strict=True))
        made = partial(_averaged, data=data, weights=weights, shift=shift, stretch=stretch, chosen=chosen)
        return CrossFit(
            model=made(parts),
            members=tuple(made([part]) for part in parts),
            held_out=shift + stretch * scores,
            fold_share=1.0 / self.folds,
        )

    def _held_out(self, data: "NestedData") -> list[BoolArray]:
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
        event = data.rows.event[data.rows.outcome == at]
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
) -> tuple[list[NestedLinear], dict[str, float]]:
    """Return each member's regression at the penalty whose held-out likelihood is the largest."""
    paths: list[list[NestedLinear]] = []
    gained = np.zeros(len(penalties))
    for out in held:
        regression, at, path = NestedRegression(data, ~out), None, []
        judged = data.rows.take(out[data.rows.patient])
        for tried, penalty in enumerate(penalties):
            at = regression.fit(penalty, at)
            path.append(regression.linear(at))
            gained[tried] += judged.log_likelihood(path[-1].scores(data))
        paths.append(path)
    best = int(np.argmax(gained))
    return [path[best] for path in paths], {"penalty": penalties[best]}


@dataclass(frozen=True)
class _Boosted:
    """Trees and how many rounds of them were kept; None where the held-out patients wanted none."""

    trees: Trees | None
    rounds: int

    def margins(self, data: NestedData, patients: BoolArray) -> FloatArray:
        shape = int(patients.sum()), len(data.names)
        return np.zeros(shape) if self.trees is None else self.trees.margins(data.X[patients])


@dataclass(frozen=True)
class _Part:
    """One member's three kinds: a regression, trees boosted from it, and trees boosted from frequencies."""

    linear: NestedLinear
    started: _Boosted
    alone: NestedLinear
    free: _Boosted

    def scores(self, data: NestedData, patients: BoolArray) -> FloatArray:
        """Return scores of some patients, shape (3, patients, outcomes)."""
        linear, alone = self.linear.scores(data, patients), self.alone.scores(data, patients)
        return np.stack(
            [linear, linear + self.started.margins(data, patients), alone + self.free.margins(data, patients)]
        )


def _boosted(
    data: NestedData,
    held: Sequence[BoolArray],
    linear: Sequence[NestedLinear],
    how: BoostedHazard,
    *,
    seed: int,
) -> list[_Part]:
    """Boost both kinds for every member."""
    alone = [_frequencies(data, ~out) for out in held]
    started = _boost(data, held, linear, how, seed=seed)
    free = _boost(data, held, alone, how, seed=seed + len(held))
    return [_Part(*kinds) for kinds in zip(linear, started, alone, free, strict=True)]


def _frequencies(data: NestedData, train: BoolArray) -> NestedLinear:
    """Return the regression without columns."""
    bare = replace(data, Z=data.Z[:, :0])
    regression = NestedRegression(bare, train)
    base = regression.linear(regression.fit(1.0)).base
    return NestedLinear(base, np.zeros((*base.shape, data.Z.shape[1])))


def _boost(
    data: NestedData,
    held: Sequence[BoolArray],
    start: Sequence[NestedLinear],
    how: BoostedHazard,
    *,
    seed: int,
) -> list[_Boosted]:
    """Boost each member from its start, all by as many rounds as give the least held-out loss together."""
    import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

    rows, settings = data.rows, how.settings(seed)
    if len(data.X) >= MANY_PATIENTS:
        settings["eta"] = min(0.1, 2.5 * how.learning_rate)
    table = np.column_stack([rows.outcome, data.X[rows.patient]]).astype(np.float32)
    boosters, loss = [], np.zeros(how.rounds + 1)
    for at, (out, from_) in enumerate(zip(held, start, strict=True)):
        margin, left = from_.scores(data)[rows.patient, rows.outcome], out[rows.patient]
        train, test = (
            xgboost.DMatrix(table[part], label=rows.event[part], base_margin=margin[part], nthread=1)
            for part in (~left, left)
        )
        told: dict[str, dict[str, list[float]]] = {}
        boosters.append(
            xgboost.train(
                settings | {"seed": seed + at},
                train,
                how.rounds,
                evals=[(test, "held_out")],
                evals_result=told,
                verbose_eval=False,
            )
        )
        before = -rows.take(left).log_likelihood(from_.scores(data))
        loss += [before, *(left.sum() * np.array(told["held_out"]["logloss"]))]
    kept = int(np.argmin(loss))
    if kept == 0:
        return [_Boosted(None, 0)] * len(held)
    read = partial(read_trees, columns=data.X.shape[1], intervals=len(data.names))
    return [_Boosted(read(bytes(booster[:kept].save_raw("json"))), kept) for booster in boosters]


def _mean_held_out(held: Sequence[BoolArray], scores: Sequence[FloatArray]) -> FloatArray:
    """Return each patient's mean scores by members that never saw them, shape (3, patients, outcomes)."""
    total = np.zeros((len(scores[0]), len(held[0]), scores[0].shape[2]))
    for out, found in zip(held, scores, strict=True):
        total[:, out] += found
    mean: FloatArray = total / np.sum(held, axis=0)[:, None]
    return mean


def _weigh(kinds: FloatArray, rows: Rows) -> FloatArray:
    """Return the three kinds' weights: held-out log likelihood with a prior that few events do not move."""
    steps = range(STEPS + 1)
    tried = np.array([(STEPS - s - f, s, f) for s in steps for f in steps if s + f <= STEPS]) / STEPS
    gained = [
        rows.log_likelihood(np.tensordot(w, kinds, axes=1)) - FIRMNESS * float(((w - PRIOR) ** 2).sum())
        for w in tried
    ]
    best: FloatArray = tried[int(np.argmax(gained))]
    return best


def _recalibration(scores: FloatArray, rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Return each outcome's shift and stretch of the scores, each shape (outcomes,).

    The calibration line through the held-out scores, turned about their mean. A shift is drawn to 0 with a
    standard error of 0.1 and a stretch to 1 with one of 0.2, so that only many patients move them.
    """
    shift, stretch = np.zeros(scores.shape[1]), np.ones(scores.shape[1])
    for at in range(scores.shape[1]):
        inside = rows.outcome == at
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


def _averaged(
    parts: Sequence[_Part],
    data: NestedData,
    weights: FloatArray,
    *,
    shift: FloatArray,
    stretch: FloatArray,
    chosen: Mapping[str, float],
) -> ResponseModel:
    """Return the weighted mean of all parts' scores as one model."""
    _, started, free = weights.tolist()
    base = np.mean([(1.0 - free) * p.linear.base + free * p.alone.base for p in parts], axis=0)
    slopes = (1.0 - free) * np.mean([p.linear.slopes for p in parts], axis=0)
    boosted = [(p.started.trees, started / len(parts)) for p in parts]
    boosted += [(p.free.trees, free / len(parts)) for p in parts]
    kept = [(trees, weight) for trees, weight in boosted if trees is not None and weight > 0.0]
    return ResponseModel(
        outcomes=data.names,
        base=base,
        means=data.means,
        coefficients=slopes / data.scales,
        trees=average(kept) if kept else None,
        stretch=stretch,
        shift=shift,
        chosen=chosen,
    )
