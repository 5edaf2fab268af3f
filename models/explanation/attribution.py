"""Explanations: what each predictor adds to each outcome's probability at each time, and on the link's scale.

A model's scores are exact sums of predictors' shares (linear terms; path-dependent TreeSHAP of boosted
trees). Its probabilities are smooth in the scores. Each share's difference from a background patient is
multiplied with the mean slope of the probability along the straight line between the two patients' scores
(Aumann and Shapley's value), and averaged over a weighted background. So contributions sum to the prediction
less the training cohort's mean prediction, on either scale, at every time at once; and those of a group of
predictors are the sum of its members', as if the group had been one predictor from the start.

Sources: Chen, Lundberg and Lee, Nature Communications 2022;13:4512 (Shapley values carried through a series
of models); Sundararajan, Taly and Yan, ICML 2017 (the integral along the line).
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.dictionary import FloatArray
from features.errors import NotExplained
from models.estimators.curves import IntArray
from models.estimators.interface import EndpointModel
from models.estimators.links import Link, links, on_both_scales
from models.explanation.aumann_shapley import Lines, carry, divide_shares, sum_groups
from models.explanation.background import Background
from models.explanation.path import NODES, SHARES, Answers, BothScales, Known, known_slopes, mean_slopes

METHOD = (
    "Shapley values of the model's scores (linear terms: exact; boosted trees: exact path-dependent "
    "TreeSHAP), carried through the probability by Aumann-Shapley integration and averaged over weighted "
    "background patients whose mean prediction is the training cohort's"
)
PROBABILITY = "probability"
ADDITIVITY = 1e-6
MOST_PREPARED = 16


@dataclass(frozen=True)
class Attribution:
    """Contributions per predictor of one patient on one scale, and what they start from."""

    prediction: float
    reference: float
    contributions: FloatArray


@dataclass(frozen=True)
class Explained:
    """Explanations of several patients on two scales: the probability and its link.

    ``prediction`` has shape (patients, 2, outcomes, times), ``reference`` (2, outcomes, times),
    ``contributions`` (patients, 2, outcomes, times, predictors) and ``grouped`` the same with groups for
    predictors. ``scales`` names, per outcome, the two scales.
    """

    outcomes: tuple[str, ...]
    scales: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    prediction: FloatArray
    reference: FloatArray
    contributions: FloatArray
    grouped: FloatArray

    def at(self, *, outcome: str, time: int = 0, patient: int = 0) -> tuple[Attribution, Attribution]:
        """Return one outcome's two explanations, by the position of the time and of the patient."""
        which = self.outcomes.index(outcome)
        on_probability, on_link = (
            Attribution(
                float(self.prediction[patient, scale, which, time]),
                float(self.reference[scale, which, time]),
                self.contributions[patient, scale, which, time],
            )
            for scale in (0, 1)
        )
        return on_probability, on_link


@dataclass(frozen=True)
class Scored:
    """Scores (patients, scores) and each predictor's share of them (patients, scores, predictors)."""

    scores: FloatArray
    shares: FloatArray


@dataclass(frozen=True)
class _Prepared:
    """The background at given times: its scores, answers (patients, answers) and their weighted mean.

    ``lines`` is what the compiled way needs, None where a model's own slopes have to do.
    """

    scored: Scored
    answers: FloatArray
    reference: FloatArray
    slopes: Answers
    lines: Lines | None


@dataclass(frozen=True)
class EndpointExplainer:
    """Explains a model against a fixed weighted background of training patients.

    ``owners`` (columns, predictors) says which predictor a column shows, ``disease`` is the predictor to
    which everything belongs that depends on the disease alone, ``groups`` names each predictor's group.
    """

    model: EndpointModel
    background: Background
    owners: FloatArray
    disease: int
    groups: tuple[str, ...]
    _prepared: dict[bytes, _Prepared] = field(default_factory=dict, repr=False, compare=False)

    def explain(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Explained:
        """Explain every outcome at every time; a model without time answers one column.

        Raises:
            NotExplained: when contributions miss a prediction by 0.000001 or more, or are not finite.

        """
        return self.explain_scored(self.score(X, strata, times), times)

    def score(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Scored:
        """Return patients' scores and what each predictor has in them."""
        parts = self.model.parts(X, strata, times)
        scores, columns = np.empty(parts.columns.shape[:2]), np.ascontiguousarray(parts.columns)
        shares = np.empty((*scores.shape, self.owners.shape[1]))
        divide_shares(columns, parts.stratum, parts.constant, self.owner, self.disease, scores, shares)
        return Scored(scores, shares)

    def explain_scored(self, scored: Scored, times: FloatArray) -> Explained:
        """Explain patients whose scores at these times are known; raises as :meth:`explain`."""
        ready = self.prepared(times)
        prediction = on_both_scales(self.model, scored.scores, times, self.links)
        contributions = self._carry(ready, scored, prediction.reshape(len(prediction), -1))
        grouped = np.empty((*contributions.shape[:2], len(self.group_names)))
        sum_groups(contributions, self.group, grouped)
        explained = Explained(
            outcomes=self.model.outcomes,
            scales=tuple((PROBABILITY, link.name) for link in self.links),
            groups=self.group_names,
            prediction=prediction,
            reference=ready.reference,
            contributions=contributions.reshape(*prediction.shape, -1),
            grouped=grouped.reshape(*prediction.shape, -1),
        )
        _require_sums(explained)
        return explained

    def prepared(self, times: FloatArray) -> _Prepared:
        """Return the background's scores and shares at these times; made once and kept."""
        key = times.tobytes()
        found = self._prepared.get(key)
        if found is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            found = self._prepared[key] = self._prepare(times)
        return found

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Return the link of each outcome."""
        return links(self.model)

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """Return the groups of predictors, each once."""
        return tuple(dict.fromkeys(self.groups))

    @cached_property
    def group(self) -> IntArray:
        """Return each predictor's group by its place."""
        return np.array([self.group_names.index(group) for group in self.groups])

    @cached_property
    def owner(self) -> IntArray:
        """Return the predictor that each column shows by its place."""
        return np.asarray(self.owners.argmax(axis=1), dtype=np.int64)

    def _prepare(self, times: FloatArray) -> _Prepared:
        scored = self.score(self.background.X, self.background.strata, times)
        both = on_both_scales(self.model, scored.scores, times, self.links)
        answers, lines = both.reshape(len(both), -1), None
        if isinstance(self.model, Known):
            kind, lived = known_slopes(self.model, times)
            lines = Lines(
                kind, self.links[0].code, scored.scores, scored.shares, answers, self.background.weights,
                lived, NODES, SHARES,
            )  # fmt: skip
        reference: FloatArray = np.tensordot(self.background.weights, both, axes=1)
        return _Prepared(scored, answers, reference, BothScales(self.model, times, self.links), lines)

    def _carry(self, ready: _Prepared, scored: Scored, answers: FloatArray) -> FloatArray:
        """Return contributions to the patients' answers, shape (patients, answers, predictors)."""
        carried = np.empty((*answers.shape, self.owners.shape[1]))
        if ready.lines is not None:
            carry(ready.lines, scored.scores, scored.shares, answers, carried)
            return carried
        weights, behind = self.background.weights[:, None], ready.scored
        for row, (scores, shares) in enumerate(zip(scored.scores, scored.shares, strict=True)):
            slopes = mean_slopes(ready.slopes, behind.scores, scores, answers[row] - ready.answers)
            slopes *= weights
            apart = slopes.reshape(len(slopes), -1) @ behind.shares.reshape(-1, carried.shape[2])
            carried[row] = slopes.sum(axis=1) @ shares - apart
        return carried


def _require_sums(explained: Explained) -> None:
    """Refuse contributions that do not add up, naming the outcome and the scale."""
    missed = np.abs(explained.reference + explained.contributions.sum(axis=-1) - explained.prediction)
    faults = ~(missed < ADDITIVITY)
    if faults.any():
        _, scale, outcome, _ = np.argwhere(faults)[0]
        name = f"{explained.outcomes[outcome]} on the scale of the {explained.scales[outcome][scale]}"
        worst = float(missed[:, scale, outcome].max())
        raise NotExplained(f"contributions to {name} miss the prediction by {worst:.2g}")
