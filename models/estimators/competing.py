"""Competing risks: one discrete-time hazard a cause, together the incidence of each and what is free of all.

Each cause has a cross-fitted hazard model, fitted with the other causes censoring. Intervals are common to
all causes, but a rare cause joins several into one. No assumption is made on how the causes depend on each
other.

Assumption: loss to follow-up says nothing about prognosis given the columns.
Source: Prentice et al., Biometrics 1978;34:541-554 (cause-specific hazards); Tutz and Schmid, Modeling
Discrete Time-to-Event Data, 2016, chapter 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import COMPETING_RISKS, CompetingOutcome
from features.errors import InvalidInput, NotFittable, Problem
from models.estimators.additive import AdditiveModel
from models.estimators.blending import AdditiveCrossFit, HeldOutScores
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray
from models.estimators.slots import interval_edges
from models.estimators.transforms import CauseSpecificHazards, IntervalHazards
from models.trees.boosters import Boosters, side_by_side

CAUSES = ("relapse", "non_relapse_mortality")
EVENTS_AN_INTERVAL = 5


@dataclass(frozen=True)
class CrossFittedCompeting:
    """Fits incidences: each cause as :class:`CrossFitted` does, on intervals that come from all events.

    ``outcomes`` names the outcome's causes 1, 2, ... in order. A cause with fewer than five events an
    interval joins intervals; one with fewer events in some disease than there are folds is fitted as if all
    diseases were one. So a rare cause still has a hazard.
    """

    outcomes: tuple[str, ...] = CAUSES
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    hazards: CrossFitted | None = None

    type: ClassVar[str] = "cross_fitted"
    kinds: ClassVar[frozenset[str]] = frozenset({COMPETING_RISKS})
    unlearned: ClassVar[float] = CrossFitted.unlearned
    exact: ClassVar[bool] = True
    description: ClassVar[str] = (
        "Discrete-time hazards of each cause, the others censoring, each a cross-fitted ensemble of "
        "ridge-penalised Cox scores and boosted trees; incidences and survival sum to one."
    )

    @staticmethod
    def read(files: Mapping[str, bytes]) -> AdditiveModel:
        return AdditiveModel.from_files(files)

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: CompetingOutcome) -> AdditiveCrossFit:
        """Fit every cause, on folds balanced by disease and cause.

        Raises:
            InvalidInput: a duration that is not above zero, or a cause without a name.
            NotFittable: naming a cause that has fewer events than there are folds.

        """
        _require_sound(outcome, self.outcomes)
        self._require_events(outcome)
        each = self.hazards or CrossFitted(folds=self.folds, repeats=self.repeats, seed=self.seed)
        edges = interval_edges(outcome.any_event(), count=each.intervals)
        splits = each.split(outcome.cause * (int(strata.max()) + 1) + strata, outcome.any_event())
        fits = [
            _fit_cause(each, X, strata, cause_specific(outcome, cause), edges, splits)
            for cause in range(1, len(self.outcomes) + 1)
        ]
        model = join_causes([fit.model for fit in fits], self.outcomes)
        scores = [fit.held_out.scores for fit in fits]
        return AdditiveCrossFit(
            model=model,
            members=tuple(
                join_causes(members, self.outcomes)
                for members in zip(*(fit.members for fit in fits), strict=True)
            ),
            held_out=HeldOutScores(model.transform, np.hstack(scores)),
            fold_share=fits[0].fold_share,
        )

    def _require_events(self, outcome: CompetingOutcome) -> None:
        events = np.bincount(outcome.cause, minlength=len(self.outcomes) + 1)[1:]
        few = [
            f"{name} has {count} events"
            for name, count in zip(self.outcomes, events, strict=True)
            if count < self.folds
        ]
        if few:
            raise NotFittable(
                f"{' and '.join(few)}; {self.folds}-fold cross-validation needs {self.folds} of each cause"
            )


def join_causes(models: Sequence[AdditiveModel], causes: tuple[str, ...]) -> AdditiveModel:
    """Return the hazard models of several causes, all centred alike, as one model of their incidences.

    Raises:
        InvalidInput: fewer than two causes, or a name twice.

    """
    if len(set(causes)) < max(2, len(models)):
        problem = Problem("causes", "are not two or more different names", "name each cause once")
        raise InvalidInput("competing risks", [problem])
    assert all(np.array_equal(model.means, models[0].means) for model in models), "causes differ in means"
    transform = CauseSpecificHazards(tuple(_edges(model) for model in models))
    return AdditiveModel(
        outcomes=causes,
        transform=transform,
        base=np.hstack([model.base for model in models]),
        means=models[0].means,
        coefficients=np.concatenate(
            [np.repeat(model.coefficients, model.base.shape[1], axis=1) for model in models], axis=1
        ),
        trees=_boosters(models),
        stretch=np.ones(transform.scores),
        shift=np.zeros(transform.scores),
        penalties=np.concatenate([model.penalties for model in models]),
        hyperparameters={
            f"{cause}_{name}": value
            for cause, model in zip(causes, models, strict=True)
            for name, value in model.hyperparameters.items()
        },
    )


def _boosters(models: Sequence[AdditiveModel]) -> Boosters | None:
    """Return the causes' boosters side by side, an empty block for a cause without trees."""
    columns = models[0].means.shape[1]
    parts = [model.trees or Boosters.none(columns, model.base.shape[1]) for model in models]
    return side_by_side(parts) if any(model.trees for model in models) else None


def _edges(model: AdditiveModel) -> FloatArray:
    assert isinstance(model.transform, IntervalHazards)
    return model.transform.edges


def _fit_cause(
    how: CrossFitted,
    X: FloatArray,
    strata: IntArray,
    outcome: Outcome,
    edges: FloatArray,
    splits: Sequence[IntArray],
) -> AdditiveCrossFit:
    edges = joined_intervals(outcome, edges)
    pooled = bool(np.bincount(strata, weights=outcome.event).min() < how.folds)
    return how.cross_fit_on(X, strata, outcome, splits=splits, edges=edges, pooled=pooled)


def cause_specific(outcome: CompetingOutcome, cause: int) -> Outcome:
    """Return one cause's times, every other cause censoring.

    >>> cause_specific(CompetingOutcome(np.array([3.0, 5.0]), np.array([1, 2])), 2).event.tolist()
    [False, True]
    """
    return Outcome(outcome.duration, outcome.cause == cause)


def joined_intervals(outcome: Outcome, edges: FloatArray) -> FloatArray:
    """Return the interval ends to keep so that about five of the events fall in each interval, at least one.

    A log odds that rests on one event is far too low in every member that was fitted without it.

    >>> ten = Outcome(np.arange(1.0, 11.0), np.ones(10, dtype=bool))
    >>> joined_intervals(ten, np.array([2.0, 4.0, 6.0, 10.0]))
    array([ 6., 10.])
    """
    events = outcome.duration[outcome.event]
    count = max(1, len(events) // EVENTS_AN_INTERVAL)
    if count >= len(edges):
        return edges
    inner = np.quantile(events, np.arange(1, count) / count)
    kept: FloatArray = edges[np.unique(np.append(np.searchsorted(edges, inner), len(edges) - 1))]
    return kept


def _require_sound(outcome: CompetingOutcome, causes: Sequence[str]) -> None:
    problems = []
    followed = np.isfinite(outcome.duration) & (outcome.duration > 0.0)
    named = np.isin(outcome.cause, np.arange(len(causes) + 1))
    expected = f"give 0 where censored, 1 to {len(causes)} for {', '.join(causes)}"
    for name, sound, problem, remedy in (
        ("duration", followed, "is not above zero months", "exclude patients without follow-up"),
        ("cause", named, "is a number without a name", expected),
    ):
        if not sound.all():
            rows = (np.flatnonzero(~sound) + 1).tolist()
            problems.append(Problem.in_rows(name, problem, remedy, rows))
    if problems:
        raise InvalidInput("competing risks", problems)
