"""Explanations: what each predictor adds to each outcome's probability at each time, and on the link's scale.

An additive model's scores are exact sums of predictors' shares (linear terms; path-dependent TreeSHAP of
boosted trees), which Aumann-Shapley integration carries through the probability. So contributions sum to the
prediction less the mean prediction of the training patients with the disease, on either scale, at every time
at once; and those of a group of predictors are the sum of its members', as if the group had been one
predictor from the start.

A patient with unknown values has plausible complete rows. Shares are averaged over them, and what the known
values tell of the unknown ones is handed on to the known. What the mean probability differs from the
probability at the mean scores is spread over the unknown predictors, in proportion to how much their shares
vary.

Source: Chen, Lundberg and Lee, Nature Communications 2022;13:4512 (Shapley values carried through a series
of models).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from features.dictionary import FloatArray
from features.errors import NotExplained
from models.compiled import compiled
from models.estimators.additive import AdditiveModel, Sums
from models.estimators.curves import IntArray
from models.estimators.links import Link, on_both_scales
from models.estimators.transforms import probabilities_after
from models.explanation.aumann_shapley import NODES, SHARES, Lines, carry, sum_groups
from models.explanation.background import Background
from models.patient.completion import Completions
from models.patient.draws import Told

EXACT = (
    "Shapley values of the model's scores (linear terms: exact; boosted trees: exact path-dependent "
    "TreeSHAP), carried through the probability by Aumann-Shapley integration and averaged over weighted "
    "background patients whose mean prediction is that of the training patients with the disease; unknown "
    "values are averaged over what they plausibly are"
)
PROBABILITY = "probability"
ADDITIVITY = 1e-6
LEAST_VARIANCE = 1e-9
MOST_PREPARED = 16


@dataclass(frozen=True)
class Attributions:
    """Contributions of several patients on two scales: the probability and its link.

    ``prediction`` has shape (patients, 2, outcomes, times), ``reference`` (2, outcomes, times) and
    ``contributions`` (patients, 2, outcomes, times, predictors). ``standard_error``, of the prediction's
    shape, is the largest of the contributions', None where they are exact. ``scores`` (rows, scores) are an
    additive model's, of every complete row, and ``shares`` (rows, scores, predictors) what they are sums of.
    ``moved``, of the prediction's shape, is what made it agree with other endpoints, None where nothing did.
    """

    prediction: FloatArray
    reference: FloatArray
    contributions: FloatArray
    standard_error: FloatArray | None = None
    scores: FloatArray | None = None
    shares: FloatArray | None = None
    moved: FloatArray | None = None

    @cached_property
    def coherence(self) -> FloatArray:
        """Return what moves the prediction beside reference and contributions, of the prediction's shape."""
        moved: FloatArray = np.zeros_like(self.prediction) if self.moved is None else self.moved
        return moved

    def by_group(self, group: IntArray, count: int) -> FloatArray:
        """Return sums over groups, (..., count); ``group`` (patients, predictors) is each predictor's."""
        flat = self.contributions.reshape(len(self.contributions), -1, group.shape[1])
        grouped = np.empty((*flat.shape[:2], count))
        sum_groups(flat, group, grouped)
        return grouped.reshape(*self.contributions.shape[:-1], count)

    def require_sums(self, outcomes: tuple[str, ...], link: str) -> None:
        """Refuse contributions that do not add up to the prediction.

        Raises:
            NotExplained: naming an outcome and a scale on which they miss it by 0.000001 or more.

        """
        missed = np.abs(self.reference + self.contributions.sum(axis=-1) - self.prediction)
        faults = ~(missed < ADDITIVITY)
        if faults.any():
            _, scale, outcome, _ = np.argwhere(faults)[0]
            worst = float(missed[:, scale, outcome].max())
            name = f"{outcomes[outcome]} on the scale of the {(PROBABILITY, link)[scale]}"
            raise NotExplained(f"contributions to {name} miss the prediction by {worst:.2g}")


class Explainer(Protocol):
    """Explains one model in one disease against its background; ``method`` says how, in words."""

    @property
    def method(self) -> str: ...

    def explain(self, patients: Completions, times: FloatArray) -> Attributions:
        """Explain every outcome at every time; a model without time answers one column.

        Raises:
            NotExplained: when contributions miss a prediction by 0.000001 or more, or are not finite.

        """
        ...

    def reference(self, times: FloatArray) -> FloatArray:
        """Return what contributions start from, shape (2, outcomes, times)."""
        ...


def hand_on(patients: Completions, shares: FloatArray) -> FloatArray:
    """Return mean shares (patients, scores, predictors) of rows, those of unknown predictors handed on.

    What known values add to an unknown one's mean is theirs: by it the unknown one's share moves along its
    slope on the scores drawn. So an unknown predictor keeps what nothing known tells, about zero.
    """
    mean = patients.mean(shares)
    for at, (told, start) in enumerate(zip(patients.told, patients.first.tolist(), strict=True)):
        if told is not None:
            rows = slice(start, start + len(told.drawn))
            hand_on_one(told, patients.weights[rows], shares[rows], mean[at])
    return mean


@compiled
def hand_on_one(told: Told, weights: FloatArray, shares: FloatArray, mean: FloatArray) -> None:
    """Move one patient's mean shares (scores, predictors), given those of rows (rows, scores, predictors)."""
    for i in range(len(told.unknown)):
        p, centre, variance = told.unknown[i], 0.0, 0.0
        for m in range(len(weights)):
            centre += weights[m] * told.drawn[m, i]
        for m in range(len(weights)):
            variance += weights[m] * (told.drawn[m, i] - centre) ** 2
        if variance < LEAST_VARIANCE:
            continue
        for s in range(mean.shape[0]):
            slope = 0.0
            for m in range(len(weights)):
                slope += weights[m] * (told.drawn[m, i] - centre) * shares[m, s, p] / variance
            for k in range(len(told.known)):
                mean[s, told.known[k]] += slope * told.means[i, k]
                mean[s, p] -= slope * told.means[i, k]


def spread_over_unknown(patients: Completions, varied: FloatArray) -> FloatArray:
    """Return shares (patients, predictors), which sum to one, of the unknown predictors.

    They are as ``varied`` (patients, predictors) is, and even where it is nothing.
    """
    own = np.where(patients.unknown, varied, 0.0)
    total = own.sum(axis=1, keepdims=True)
    even = patients.unknown / np.maximum(patients.unknown.sum(axis=1, keepdims=True), 1)
    shares: FloatArray = np.where(total > 0.0, own / np.where(total > 0.0, total, 1.0), even)
    return shares


@compiled
def divide(
    columns: FloatArray,
    X: FloatArray,
    strata: IntArray,
    model: Sums,
    owner: IntArray,
    disease: int,
    scores: FloatArray,
    shares: FloatArray,
) -> None:
    """Write scores (rows, scores) and each predictor's shares of them (rows, scores, predictors).

    ``columns`` (rows, scores, columns) are the trees' contributions; a missing value adds no linear term.
    ``owner`` (columns,) is the predictor that a column shows; what depends on the disease alone belongs to
    the predictor ``disease``.
    """
    shares[:] = 0.0
    for r in range(X.shape[0]):
        stratum = strata[r]
        for s in range(scores.shape[1]):
            linear = model.coefficients[stratum, min(s, model.coefficients.shape[1] - 1)]
            own = model.base[stratum, s] * model.stretch[s]
            total = model.constant[s] + own
            for c in range(X.shape[1]):
                share = columns[r, s, c]
                if not np.isnan(X[r, c]):
                    share += (X[r, c] - model.means[stratum, c]) * linear[c]
                share *= model.stretch[s]
                shares[r, s, owner[c]] += share
                total += share
            shares[r, s, disease] += own
            scores[r, s] = total


@dataclass(frozen=True)
class ExactExplainer:
    """Explains an additive model in the disease of its background.

    ``owner`` (columns,) says which predictor a column shows, of ``predictors``; ``disease`` is the predictor
    to which everything belongs that depends on the disease alone.
    """

    model: AdditiveModel
    link: Link
    background: Background
    owner: IntArray
    predictors: int
    disease: int
    method: str = EXACT
    _prepared: dict[bytes, Lines] = field(default_factory=dict, repr=False, compare=False)

    def explain(self, patients: Completions, times: FloatArray) -> Attributions:
        """Explain every outcome at every time; raises as :meth:`Explainer.explain`."""
        lines = self._lines(times)
        each, shares = self._divide(patients.X, self._tree_contributions(patients))
        prediction = on_both_scales(patients.mean(probabilities_after(lines.steps, each)), self.link)
        scores, mean_shares = patients.mean(each), hand_on(patients, shares)
        at_mean = prediction
        if not patients.complete:
            at_mean = on_both_scales(probabilities_after(lines.steps, scores), self.link)
        answers = at_mean.reshape(len(scores), -1)
        contributions = np.empty((*answers.shape, self.predictors))
        missed = carry(lines, scores, mean_shares, answers, contributions)
        contributions = contributions.reshape(*prediction.shape, -1)
        if not patients.complete:
            varied = patients.variance(shares).sum(axis=1)
            some = patients.unknown.any(axis=1)
            spread = spread_over_unknown(patients, varied)[some, None, None, None]
            contributions[some] += (prediction - at_mean)[some][..., None] * spread
        attributions = Attributions(
            prediction=prediction,
            reference=lines.reference.reshape(prediction.shape[1:]),
            contributions=contributions,
            scores=each,
            shares=shares,
        )
        if not missed < ADDITIVITY:
            attributions.require_sums(self.model.outcomes, self.link.name)
        return attributions

    def reference(self, times: FloatArray) -> FloatArray:
        """Return the background's weighted mean answers, shape (2, outcomes, times)."""
        return self._lines(times).reference.reshape(2, len(self.model.outcomes), -1)

    @cached_property
    def _model(self) -> AdditiveModel:
        return self.model.tabulated() if self.model.tables is None else self.model

    def _tree_contributions(self, patients: Completions) -> FloatArray:
        """Return the trees' contributions of every row, (rows, scores, columns).

        A patient's rows are answered together: what no unknown predictor changes is added up once where one
        predictor is unknown.
        """
        model, X = self._model, np.ascontiguousarray(patients.X)
        if patients.complete:
            return model.tree_contributions(X)
        out = np.empty((len(X), model.base.shape[1], X.shape[1]))
        single = np.repeat(patients.counts == 1, patients.counts)
        out[single] = model.tree_contributions(X[single])
        for at in np.flatnonzero(patients.counts > 1).tolist():
            rows = slice(patients.first[at], patients.first[at] + patients.counts[at])
            (unknown,) = np.nonzero(patients.unknown[at])
            own = np.flatnonzero(self.owner == unknown[0]) if len(unknown) == 1 else None
            out[rows] = model.tree_contributions(X[rows], own if own is None else tuple(own.tolist()))
        return out

    def _divide(self, X: FloatArray, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        X, model = np.ascontiguousarray(X), self._model
        strata = np.full(len(X), self.background.strata[0])
        scores = np.empty((len(X), model.base.shape[1]))
        shares = np.empty((*scores.shape, self.predictors))
        divide(columns, X, strata, model.sums_about_expected, self.owner, self.disease, scores, shares)
        return scores, shares

    def _lines(self, times: FloatArray) -> Lines:
        """Return the background's scores, shares and answers at these times; made once and kept."""
        key = times.tobytes()
        lines = self._prepared.get(key)
        if lines is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            lines = self._prepared[key] = self._prepare(times)
        return lines

    def _prepare(self, times: FloatArray) -> Lines:
        X = self.background.X
        scores, shares = self._divide(X, self._model.tree_contributions(X))
        steps = self.model.transform.at(times)
        both = on_both_scales(probabilities_after(steps, scores), self.link).reshape(len(scores), -1)
        weights = self.background.weights
        return Lines(steps, self.link.code, scores, shares, both, weights, weights @ both, NODES, SHARES)
