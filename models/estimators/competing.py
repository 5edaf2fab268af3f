"""Competing risks: one discrete-time hazard a cause, together the incidence of each and what is free of all.

Each cause has its own :class:`~models.estimators.hazard.HazardModel`, fitted with the other causes censoring. Intervals
are common to all causes, but a rare cause joins several into one. Within an interval every cause's hazard is
constant, so a cause's share of those who leave is its share of the total hazard. The incidences and the
event-free share follow in closed form and sum to one at every time; no assumption is made on how the causes
depend on each other.

Assumption: loss to follow-up says nothing about prognosis given the columns.
Source: Prentice et al., Biometrics 1978;34:541-554 (cause-specific hazards); Tutz and Schmid, Modeling
Discrete Time-to-Event Data, 2016, chapter 8.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from features.errors import InvalidInput, NotFittable, Problem
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray
from models.estimators.hazard import HazardModel, chance, exposure, interval_edges
from models.estimators.interface import CrossFit, Parts
from models.explanation.aumann_shapley import LARGEST_MARGIN

CAUSES = ("relapse", "non_relapse_mortality")
EVENTS_AN_INTERVAL = 5
DOCUMENT = "competing.json"


@dataclass(frozen=True)
class CompetingModel:
    """Fitted hazards of two or more causes, each named by its ``outcome``.

    Scores are the log odds of the first cause in each of its intervals, then those of the next cause.
    """

    hazards: tuple[HazardModel, ...]

    def __post_init__(self) -> None:
        """Refuse what are not competing causes.

        Raises:
            InvalidInput: fewer than two causes, or a name twice.

        """
        if len(set(self.outcomes)) < max(2, len(self.hazards)):
            problem = Problem("causes", "are not two or more different names", "name each cause once")
            raise InvalidInput("competing risks", [problem])

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return the causes' names."""
        return tuple(hazard.outcome for hazard in self.hazards)

    @cached_property
    def edges(self) -> FloatArray:
        """Return the ends in months of the intervals in which no cause's hazard changes."""
        return np.unique(np.concatenate([hazard.edges for hazard in self.hazards]))

    @property
    def timed(self) -> bool:
        """Tell that the probabilities depend on time."""
        return True

    def scores(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return each cause's log odds in each of its intervals, shape (patients, scores)."""
        return np.hstack([hazard.scores(X, strata, times) for hazard in self.hazards])

    def parts(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Parts:
        """Return the log odds split by column."""
        parts = [hazard.parts(X, strata, times) for hazard in self.hazards]
        return Parts(
            np.concatenate([part.columns for part in parts], axis=1),
            np.hstack([part.stratum for part in parts]),
            np.concatenate([part.constant for part in parts]),
        )

    def probabilities(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the cumulative incidence of each cause, shape (patients, causes, times).

        Incidences lie in [0, 1], never fall, are flat beyond the last interval, and are what
        :meth:`survival` leaves to one.
        """
        return self._course(scores, times).incidence()

    def slopes(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the probabilities' derivatives, shape (patients, causes, times, scores)."""
        by_hazard = self._course(scores, times).slopes()
        spread = [by_hazard[:, :, :, at] @ parts for at, parts in enumerate(self._spreads)]
        rises = np.where(np.abs(scores) <= LARGEST_MARGIN, chance(scores), 0.0)
        slopes: FloatArray = np.concatenate(spread, axis=3) * rises[:, None, None]
        return slopes

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the probability of being free of every cause, shape (patients, times)."""
        return self._course(self.scores(X, strata, times), times).event_free()

    def files(self) -> Mapping[str, bytes]:
        """Return the model as files; a cause's carry its name: hazard-relapse.json, trees-relapse.npz."""
        document = json.dumps({"causes": list(self.outcomes)}, indent=1).encode()
        return {DOCUMENT: document} | {
            _named(name, cause=hazard.outcome): content
            for hazard in self.hazards
            for name, content in hazard.files().items()
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "CompetingModel":
        """Read what :meth:`files` wrote."""
        plain = ("hazard.json", "trees.npz")
        return cls(
            tuple(
                HazardModel.from_files({name: files[_named(name, cause=cause)] for name in plain})
                for cause in json.loads(files[DOCUMENT])["causes"]
            )
        )

    def _course(self, scores: FloatArray, times: FloatArray) -> "_Course":
        hazards = np.logaddexp(0.0, np.clip(scores, -LARGEST_MARGIN, LARGEST_MARGIN))
        ends = np.cumsum([len(hazard.edges) for hazard in self.hazards])[:-1]
        by_cause = np.split(hazards, ends, axis=1)
        rates = [rate @ spread.T for rate, spread in zip(by_cause, self._spreads, strict=True)]
        return _Course.of(np.stack(rates, axis=1), exposure(self.edges, times))

    @cached_property
    def _spreads(self) -> tuple[FloatArray, ...]:
        """Return each cause's hazard spread evenly over its intervals, shape (edges, its intervals)."""
        return tuple(
            np.diff(exposure(hazard.edges, self.edges), axis=0, prepend=0.0) for hazard in self.hazards
        )


@dataclass(frozen=True)
class _Course:
    """What happens in each interval up to each time.

    ``share`` has shape (patients, causes, intervals): a cause's part of the total hazard ``total`` (patients,
    intervals), in units of a whole interval; ``lived`` (times, intervals). ``before`` and ``left``, of shape
    (patients, times, intervals), are the shares free at an interval's start and leaving in it.
    """

    share: FloatArray
    total: FloatArray
    lived: FloatArray
    before: FloatArray
    left: FloatArray

    @classmethod
    def of(cls, rate: FloatArray, lived: FloatArray) -> "_Course":
        """Return the course under cumulative hazards ``rate`` (patients, causes, intervals) an interval."""
        total = rate.sum(axis=1)
        passed = total[:, None] * lived
        earlier = np.cumsum(passed[:, :, :-1], axis=2)
        before = np.exp(-np.pad(earlier, ((0, 0), (0, 0), (1, 0))))
        return cls(rate / total[:, None], total, lived, before, -before * np.expm1(-passed))

    def event_free(self) -> FloatArray:
        """Return the share free of every cause, shape (patients, times)."""
        free: FloatArray = np.exp(-self.total @ self.lived.T)
        return free

    def incidence(self) -> FloatArray:
        """Return each cause's share so far, shape (patients, causes, times)."""
        return np.minimum(self.share @ self.left.transpose(0, 2, 1), 1.0)

    def slopes(self) -> FloatArray:
        """Return the incidences' derivatives by hazards, shape (patients, causes, times, causes, intervals).

        A higher hazard in an interval lets fewer reach the later ones, moves more out of this one, and gives
        the cause a larger part of these.
        """
        causes = self.share.shape[1]
        ended = self.share[:, :, None] * self.left[:, None]
        later = ended.sum(axis=3, keepdims=True) - np.cumsum(ended, axis=3)
        staying = self.before - self.left
        moved = self.lived * (self.share[:, :, None] * staying[:, None] - later)
        gained = (self.left / self.total[:, None])[:, None, :, None]
        own = np.eye(causes)[:, :, None] - self.share[:, :, None]
        slopes: FloatArray = moved[:, :, :, None] + gained * own[:, :, None]
        return slopes


@dataclass(frozen=True)
class CrossFittedCompeting:
    """Fits :class:`CompetingModel`: each cause as ``survival`` says, on intervals that come from all events.

    ``outcomes`` names the outcome's causes 1, 2, ... in order. A cause with fewer than five events an
    interval joins intervals; one with fewer events in some disease than there are folds is fitted as if all
    diseases were one. So a rare cause still has a hazard.
    """

    outcomes: tuple[str, ...] = CAUSES
    survival: CrossFitted = field(default_factory=CrossFitted)

    def fit(self, X: FloatArray, strata: IntArray, outcome: CompetingOutcome) -> CompetingModel:
        """Fit every cause.

        Raises:
            InvalidInput: a duration that is not above zero, or a cause without a name.
            NotFittable: naming a cause that has fewer events than there are folds.

        """
        return self.cross_fit(X, strata, outcome).model

    def cross_fit(
        self, X: FloatArray, strata: IntArray, outcome: CompetingOutcome
    ) -> CrossFit[CompetingModel]:
        """Fit, and return beside the model its members and the held-out log odds.

        All causes have the same folds, balanced by disease and cause.
        """
        _require_sound(outcome, self.outcomes)
        self._require_events(outcome)
        edges = interval_edges(outcome.any_event(), count=self.survival.intervals)
        by_cause = outcome.cause * (int(strata.max()) + 1) + strata
        splits = self.survival.split(by_cause, outcome.any_event())
        fits = [
            self._fit_cause(X, strata, cause_specific(outcome, k), name=name, edges=edges, splits=splits)
            for k, name in enumerate(self.outcomes, start=1)
        ]
        return CrossFit(
            model=CompetingModel(tuple(fit.model for fit in fits)),
            members=tuple(CompetingModel(m) for m in zip(*(fit.members for fit in fits), strict=True)),
            held_out=np.hstack([fit.held_out for fit in fits]),
            fold_share=fits[0].fold_share,
        )

    def _fit_cause(
        self,
        X: FloatArray,
        strata: IntArray,
        outcome: Outcome,
        *,
        name: str,
        edges: FloatArray,
        splits: Sequence[IntArray],
    ) -> CrossFit[HazardModel]:
        each, edges = replace(self.survival, outcome=name), joined_intervals(outcome, edges)
        if np.bincount(strata, weights=outcome.event).min() >= self.survival.folds:
            return each.cross_fit(X, strata, outcome, edges=edges, splits=splits)
        pooled = each.cross_fit(X, np.zeros_like(strata), outcome, edges=edges, splits=splits)
        count = int(strata.max()) + 1
        return replace(
            pooled,
            model=_for_each_disease(pooled.model, count),
            members=tuple(_for_each_disease(member, count) for member in pooled.members),
        )

    def _require_events(self, outcome: CompetingOutcome) -> None:
        events = np.bincount(outcome.cause, minlength=len(self.outcomes) + 1)[1:]
        folds = self.survival.folds
        few = [
            f"{name} has {count} events"
            for name, count in zip(self.outcomes, events, strict=True)
            if count < folds
        ]
        if few:
            raise NotFittable(
                f"{' and '.join(few)}; {folds}-fold cross-validation needs {folds} of each cause"
            )


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


def _for_each_disease(model: HazardModel, count: int) -> HazardModel:
    """Return a model of one stratum as one of several that are alike."""
    return replace(
        model,
        base=np.repeat(model.base, count, axis=0),
        means=np.repeat(model.means, count, axis=0),
        coefficients=np.repeat(model.coefficients, count, axis=0),
        chosen=dict(model.chosen) | {"pooled_diseases": float(count)},
    )


def _require_sound(outcome: CompetingOutcome, causes: Sequence[str]) -> None:
    problems = []
    unfollowed = np.flatnonzero(~(np.isfinite(outcome.duration) & (outcome.duration > 0.0)))
    if unfollowed.size:
        problems.append(
            _rows("duration", "is not above zero months", "exclude patients without follow-up", unfollowed)
        )
    nameless = np.flatnonzero(~np.isin(outcome.cause, np.arange(len(causes) + 1)))
    if nameless.size:
        expected = f"give 0 where censored, 1 to {len(causes)} for {', '.join(causes)}"
        problems.append(_rows("cause", "is a number without a name", expected, nameless))
    if problems:
        raise InvalidInput("competing risks", problems)


def _rows(name: str, problem: str, remedy: str, rows: npt.NDArray[np.int64]) -> Problem:
    return Problem(name, problem, remedy, int(rows.size), tuple((rows[:5] + 1).tolist()))


def _named(name: str, *, cause: str) -> str:
    """Return a file's name with its cause.

    >>> _named("trees.npz", cause="relapse")
    'trees-relapse.npz'
    """
    path = PurePath(name)
    return f"{path.stem}-{cause}{path.suffix}"
