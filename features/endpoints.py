"""Endpoints: what counts as the event, measured from the index date, and how its probability is read.

An endpoint is declared as plain values: its kind, the field that holds its clock, the scale on which it is
explained and its intervals are drawn, whether its probability falls with time, and which outcomes are harms.
Nothing is read off its name, so a new endpoint, a hospital's own included, is one declaration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import InvalidCohort, Problem

SURVIVAL, COMPETING_RISKS, RESPONSE = "survival", "competing_risks", "response"
KINDS = frozenset({SURVIVAL, COMPETING_RISKS, RESPONSE})
LOG_CUMULATIVE_HAZARD, COMPLEMENTARY_LOG_LOG, LOG_ODDS = (
    "log_cumulative_hazard", "complementary_log_log", "log_odds",
)  # fmt: skip

Rows = npt.NDArray[np.integer[Any]] | BoolArray


@dataclass(frozen=True)
class BinaryOutcome:
    """Whether the event happened, shape (patients,); it counts only where ``known``."""

    event: BoolArray
    known: BoolArray

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: Rows) -> "BinaryOutcome":
        """Return the outcome of these rows."""
        return BinaryOutcome(self.event[rows], self.known[rows])


@dataclass(frozen=True)
class ResponseOutcome:
    """Nested binary outcomes, the strictest first; whoever has one has every broader one.

    ``parts`` holds one outcome for each of ``names``.
    """

    names: tuple[str, ...]
    parts: tuple[BinaryOutcome, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, rows: Rows) -> "ResponseOutcome":
        """Return the outcome of these rows."""
        return ResponseOutcome(self.names, tuple(part.take(rows) for part in self.parts))


@dataclass(frozen=True)
class CompetingOutcome:
    """Right-censored times that end in one of several ways.

    ``cause`` is 0 where censored, else the place, from 1, of the cause that came first.
    """

    duration: FloatArray
    cause: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.duration)

    def take(self, rows: Rows) -> "CompetingOutcome":
        """Return the outcome of these rows."""
        return CompetingOutcome(self.duration[rows], self.cause[rows])

    def any_event(self) -> Outcome:
        """Return the time to the first event of any cause."""
        return Outcome(self.duration, self.cause > 0)


EndpointOutcome = Outcome | CompetingOutcome | ResponseOutcome


@dataclass(frozen=True)
class PredictedOutcome:
    """One probability of an endpoint.

    ``label`` completes "the probability of ..."; ``harm`` tells that less of it is better. ``up_to`` is the
    position of the last category of a response that counts as the outcome; None for a flag.
    """

    name: str
    label: str
    harm: bool = False
    up_to: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """What may be predicted.

    ``fields`` are read from the cohort: with time, the clock (months from the index date) and what ended it
    (a flag, or the number of the cause that came first); without time, the response or the flag. ``link``
    names the scale of explanations and intervals. ``falls`` tells that the probability starts at one and
    falls with time, as survival does; otherwise it starts at zero and rises. ``events`` name what ends it,
    with competing risks all causes together: survival free of more events is never the likelier one.
    """

    name: str
    title: str
    kind: str
    outcomes: tuple[PredictedOutcome, ...]
    fields: tuple[str, ...]
    link: str
    falls: bool = False
    events: tuple[str, ...] = ()

    @property
    def timed(self) -> bool:
        return self.kind != RESPONSE

    @property
    def clock(self) -> str:
        """Return, of an endpoint with time, the field that holds the months of follow-up."""
        return self.fields[0]

    @property
    def labels(self) -> Mapping[str, str]:
        """Return each outcome's label."""
        return {outcome.name: outcome.label for outcome in self.outcomes}

    def harmful(self, outcome: str) -> bool:
        """Tell whether less of an outcome is better."""
        return next(declared.harm for declared in self.outcomes if declared.name == outcome)

    def read(self, cohort: Cohort) -> Any:
        """Return the cohort's outcome: times to the event, times to competing causes, or nested responses.

        Raises:
            InvalidCohort: when a field is not in the cohort; with time also when a value is missing or
                someone was not followed at all.

        """
        if self.kind == RESPONSE:
            return self._responses(cohort)
        _require_values(cohort, self.title.lower(), self.fields)
        duration, ended = (cohort.values[field] for field in self.fields)
        if self.kind == COMPETING_RISKS:
            return CompetingOutcome(duration, ended.astype(np.int64))
        return Outcome(duration, ended == 1.0)

    def _responses(self, cohort: Cohort) -> ResponseOutcome:
        """Return the outcomes that the cohort tells apart.

        One that nobody has beyond the stricter one before it (no stable disease was recorded, say) is left
        out. Who could not be evaluated did not respond; who is missing is unknown.
        """
        _require_columns(cohort, self.title.lower(), self.fields)
        values = cohort.values[self.fields[0]]
        read: dict[str, BinaryOutcome] = {}
        for outcome in self.outcomes:
            event = values == 1.0 if outcome.up_to is None else values <= outcome.up_to
            if not any(np.array_equal(event, other.event) for other in read.values()):
                read[outcome.name] = BinaryOutcome(event, ~np.isnan(values))
        return ResponseOutcome(tuple(read), tuple(read.values()))

    def check(self) -> None:
        """Raise ValueError, naming the part, where a stored declaration is none."""
        words = (
            self.name,
            self.title,
            *self.fields,
            *self.events,
            *(w for o in self.outcomes for w in (o.name, o.label)),
        )
        flags = (self.falls, *(outcome.harm for outcome in self.outcomes))
        if not all(isinstance(word, str) for word in words) or not all(isinstance(f, bool) for f in flags):
            raise ValueError("words and flags of the endpoint are not as they must be")
        fewest = 2 if self.kind == COMPETING_RISKS else 1
        if self.kind not in KINDS or not fewest <= len(self.outcomes) == len(self.labels):
            raise ValueError("kind and outcomes of the endpoint are not as they must be")
        if len(self.fields) != (2 if self.timed else 1):
            raise ValueError("fields of the endpoint are not as they must be")
        if self.falls and self.kind != SURVIVAL:
            raise ValueError("falls of the endpoint is not as it must be")

    def as_dict(self) -> dict[str, Any]:
        """Return the declaration as plain JSON values, as a bundle stores it."""
        lists = {"fields": list(self.fields), "events": list(self.events)}
        return asdict(self) | {"outcomes": [asdict(o) for o in self.outcomes]} | lists

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Endpoint":
        outcomes = tuple(PredictedOutcome(**outcome) for outcome in stored["outcomes"])
        lists = {name: tuple(stored[name]) for name in ("fields", "events")}
        return cls(**{**stored, "outcomes": outcomes, **lists})


def _survival(name: str, title: str, label: str, *fields: str, events: tuple[str, ...]) -> Endpoint:
    outcome = PredictedOutcome(name, label)
    return Endpoint(name, title, SURVIVAL, (outcome,), fields, LOG_CUMULATIVE_HAZARD, True, events)


def _harm(name: str, title: str, label: str) -> Endpoint:
    return Endpoint(name, title, RESPONSE, (PredictedOutcome(name, label, harm=True),), (name,), LOG_ODDS)


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        _survival(
            "overall_survival", "Overall survival", "being alive", "months_followed", "died",
            events=("death",),
        ),
        _survival(
            "progression_free_survival", "Progression-free survival", "being alive without progression",
            "months_progression_free", "progressed_or_died", events=("death", "progression"),
        ),
        _survival(
            "event_free_survival", "Event-free survival", "being free of the trial's events",
            "months_event_free", "event_free_ended", events=("death", "progression", "other_event"),
        ),
        Endpoint(
            "relapse_and_non_relapse_mortality", "Relapse and non-relapse mortality", COMPETING_RISKS,
            (
                PredictedOutcome("relapse", "relapse or progression", harm=True),
                PredictedOutcome("non_relapse_mortality", "death without relapse", harm=True),
            ),
            ("months_progression_free", "first_event"), COMPLEMENTARY_LOG_LOG,
            events=("death", "progression"),
        ),
        Endpoint(
            "response", "Response", RESPONSE,
            (
                PredictedOutcome("complete_response", "a complete response", up_to=0),
                PredictedOutcome("overall_response", "a complete or partial response", up_to=1),
                PredictedOutcome("disease_control", "a response or stable disease", up_to=2),
            ),
            ("response",), LOG_ODDS,
        ),
        _harm("grade_3_toxicity", "Severe toxicity", "toxicity of grade 3 or higher"),
        _harm("treatment_related_death", "Treatment-related death", "death caused by the treatment"),
    )
}  # fmt: skip


def overall_survival(cohort: Cohort) -> Outcome:
    """Return months from the index date to death of any cause, censored at last contact."""
    outcome: Outcome = ENDPOINTS["overall_survival"].read(cohort)
    return outcome


def event_counts(cohort: Cohort) -> dict[str, int]:
    """Return the number of events of every outcome that the cohort records, missing values left aside."""
    counts: dict[str, int] = {}
    for endpoint in ENDPOINTS.values():
        ended = cohort.values.get(endpoint.fields[-1])
        if ended is None:
            continue
        for place, outcome in enumerate(endpoint.outcomes, start=1):
            happened = ended == float(place) if outcome.up_to is None else ended <= outcome.up_to
            counts[outcome.name] = int(happened.sum())
    return counts


def outcome_events(outcome: EndpointOutcome, names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of events of each of an outcome's probabilities.

    >>> outcome_events(Outcome(np.array([1.0, 2.0]), np.array([True, False])), ("overall_survival",))
    {'overall_survival': 1}
    """
    if isinstance(outcome, ResponseOutcome):
        return {n: int((p.event & p.known).sum()) for n, p in zip(outcome.names, outcome.parts, strict=True)}
    if isinstance(outcome, CompetingOutcome):
        return {name: int((outcome.cause == at).sum()) for at, name in enumerate(names, start=1)}
    return {name: int(outcome.event.sum()) for name in names}


def _require_columns(cohort: Cohort, name: str, fields: tuple[str, ...]) -> None:
    problems = [
        Problem(field, "is missing from the cohort", "map it in the recipe")
        for field in fields
        if field not in cohort.values
    ]
    if problems:
        raise InvalidCohort(name, problems)


def _require_values(cohort: Cohort, name: str, fields: tuple[str, ...]) -> None:
    _require_columns(cohort, name, fields)
    problems = []
    for field in fields:
        if blank := _numbered(np.isnan(cohort.values[field])):
            remedy = "complete it, or exclude those patients in the recipe"
            problems.append(Problem.in_rows(field, "has no value", remedy, blank))
    if unfollowed := _numbered(cohort.values[fields[0]] <= 0):
        remedy = "exclude patients without follow-up after the index date"
        problems.append(Problem.in_rows(fields[0], "is zero", remedy, unfollowed))
    if problems:
        raise InvalidCohort(name, problems)


def _numbered(rows: BoolArray) -> list[int]:
    """Return the numbers, from 1, of the rows that are marked."""
    numbers: list[int] = (np.flatnonzero(rows) + 1).tolist()
    return numbers
