"""Explanations: what each predictor adds to each outcome's probability at each time, and on the link's scale.

An additive model's scores are exact sums of predictors' shares (linear terms; path-dependent TreeSHAP of
boosted trees), which Aumann-Shapley integration carries through the probability. So contributions sum to the
prediction less the training cohort's mean prediction, on either scale, at every time at once; and those of a
group of predictors are the sum of its members', as if the group had been one predictor from the start.

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

EXACT = (
    "Shapley values of the model's scores (linear terms: exact; boosted trees: exact path-dependent "
    "TreeSHAP), carried through the probability by Aumann-Shapley integration and averaged over weighted "
    "background patients whose mean prediction is the training cohort's"
)
PROBABILITY = "probability"
ADDITIVITY = 1e-6
MOST_PREPARED = 16


@dataclass(frozen=True)
class Attributions:
    """Contributions of several patients on two scales: the probability and its link.

    ``prediction`` has shape (patients, 2, outcomes, times), ``reference`` (2, outcomes, times) and
    ``contributions`` (patients, 2, outcomes, times, predictors). ``standard_error``, of the prediction's
    shape, is the largest of the contributions', None where they are exact. ``scores`` (patients, scores) are
    an additive model's.
    """

    prediction: FloatArray
    reference: FloatArray
    contributions: FloatArray
    standard_error: FloatArray | None = None
    scores: FloatArray | None = None

    def by_group(self, group: IntArray) -> FloatArray:
        """Return sums over groups, (..., groups); ``group`` (predictors,) is each predictor's."""
        flat = self.contributions.reshape(len(self.contributions), -1, len(group))
        grouped = np.empty((*flat.shape[:2], int(group.max()) + 1))
        sum_groups(flat, group, grouped)
        return grouped.reshape(*self.contributions.shape[:-1], -1)

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
    """Explains one model against its background; ``method`` says how, in words."""

    @property
    def method(self) -> str: ...

    def explain(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Attributions:
        """Explain every outcome at every time; a model without time answers one column.

        Raises:
            NotExplained: when contributions miss a prediction by 0.000001 or more, or are not finite.

        """
        ...

    def reference(self, times: FloatArray) -> FloatArray:
        """Return what contributions start from, shape (2, outcomes, times)."""
        ...


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
    """Explains an additive model.

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

    def explain(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Attributions:
        """Explain every outcome at every time; raises as :meth:`Explainer.explain`."""
        lines = self._lines(times)
        scores, shares = self._divide(X, strata)
        prediction = on_both_scales(probabilities_after(lines.steps, scores), self.link)
        answers = prediction.reshape(len(X), -1)
        contributions = np.empty((*answers.shape, self.predictors))
        missed = carry(lines, scores, shares, answers, contributions)
        attributions = Attributions(
            prediction=prediction,
            reference=lines.reference.reshape(prediction.shape[1:]),
            contributions=contributions.reshape(*prediction.shape, -1),
            scores=scores,
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

    def _divide(self, X: FloatArray, strata: IntArray) -> tuple[FloatArray, FloatArray]:
        X, model = np.ascontiguousarray(X), self._model
        scores = np.empty((len(X), model.base.shape[1]))
        shares = np.empty((*scores.shape, self.predictors))
        columns = model.tree_contributions(X)
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
        scores, shares = self._divide(self.background.X, self.background.strata)
        steps = self.model.transform.at(times)
        both = on_both_scales(probabilities_after(steps, scores), self.link).reshape(len(scores), -1)
        weights = self.background.weights
        return Lines(steps, self.link.code, scores, shares, both, weights, weights @ both, NODES, SHARES)
