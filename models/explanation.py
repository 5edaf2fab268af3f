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

import numpy as np

from features.dictionary import FloatArray
from features.errors import NotExplained
from models.background import Background
from models.curves import IntArray
from models.endpoint import EndpointModel
from models.link import Link, links, on_both_scales
from models.path import Answers, answers_of, mean_slopes

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
class _Prepared:
    """The background at given times: scores (patients, scores), shares (patients x scores, predictors)."""

    scores: FloatArray
    shares: FloatArray
    answers: FloatArray
    reference: FloatArray
    slopes: Answers


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
        linked = links(self.model)
        ready = self.prepared(times)
        parts = self.model.parts(X, strata, times)
        scores, shares = parts.total(), parts.by_predictor(self.owners, disease=self.disease)
        prediction = on_both_scales(self.model, scores, times, linked)
        carried = [
            self._carry(ready, score, share, answer.ravel())
            for score, share, answer in zip(scores, shares, prediction, strict=True)
        ]
        contributions = np.stack(carried).reshape(*prediction.shape, -1)
        explained = self._explained(linked, prediction, ready.reference, contributions)
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

    def _prepare(self, times: FloatArray) -> _Prepared:
        linked = links(self.model)
        parts = self.model.parts(self.background.X, self.background.strata, times)
        scores, shares = parts.total(), parts.by_predictor(self.owners, disease=self.disease)
        answers = on_both_scales(self.model, scores, times, linked)
        reference: FloatArray = np.tensordot(self.background.weights, answers, axes=1)
        slopes = answers_of(self.model, times, linked)
        flat = shares.reshape(-1, shares.shape[2])
        return _Prepared(scores, flat, answers.reshape(len(answers), -1), reference, slopes)

    def _carry(
        self, ready: _Prepared, scores: FloatArray, shares: FloatArray, answers: FloatArray
    ) -> FloatArray:
        """Return one patient's contributions, shape (answers, predictors)."""
        slopes = mean_slopes(ready.slopes, ready.scores, scores, answers - ready.answers)
        slopes *= self.background.weights[:, None]
        carried: FloatArray = slopes.sum(axis=1) @ shares - slopes.reshape(len(answers), -1) @ ready.shares
        return carried

    def _explained(
        self, linked: tuple[Link, ...], prediction: FloatArray, reference: FloatArray, carried: FloatArray
    ) -> Explained:
        groups = tuple(dict.fromkeys(self.groups))
        members = np.array([[group == name for name in groups] for group in self.groups], dtype=np.float64)
        return Explained(
            outcomes=self.model.outcomes,
            scales=tuple((PROBABILITY, link.name) for link in linked),
            groups=groups,
            prediction=prediction,
            reference=reference,
            contributions=carried,
            grouped=carried @ members,
        )


def _require_sums(explained: Explained) -> None:
    """Refuse contributions that do not add up, naming the outcome and the scale."""
    missed = np.abs(explained.reference + explained.contributions.sum(axis=-1) - explained.prediction)
    faults = ~(missed < ADDITIVITY)
    if faults.any():
        _, scale, outcome, _ = np.argwhere(faults)[0]
        name = f"{explained.outcomes[outcome]} on the scale of the {explained.scales[outcome][scale]}"
        worst = float(missed[:, scale, outcome].max())
        raise NotExplained(f"contributions to {name} miss the prediction by {worst:.2g}")
