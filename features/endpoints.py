"""Endpoints: what counts as the event, measured from the index date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import InvalidCohort, Problem

RESPONSES = ("complete_response", "partial_response", "stable_disease")


SURVIVAL, COMPETING_RISKS, RESPONSE = "survival", "competing_risks", "response"

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
    """Responses from the best to the widest, each including those before it; ``parts`` is one a response."""

    names: tuple[str, ...]
    parts: tuple[BinaryOutcome, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, rows: Rows) -> "ResponseOutcome":
        """Return the outcome of these rows."""
        return ResponseOutcome(self.names, tuple(part.take(rows) for part in self.parts))


@dataclass(frozen=True)
class CompetingOutcome:
    """Right-censored times that end in two ways.

    ``cause`` is 0 where censored, 1 for relapse or progression, 2 for death before it.
    """

    duration: FloatArray
    cause: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.duration)

    def take(self, rows: Rows) -> "CompetingOutcome":
        """Return the outcome of these rows."""
        return CompetingOutcome(self.duration[rows], self.cause[rows])

    def any_event(self) -> Outcome:
        """Return the time to the first event of either kind."""
        return Outcome(self.duration, self.cause > 0)


class AnyOutcome(Protocol):
    """What every kind of outcome can do."""

    def __len__(self) -> int: ...

    def take(self, rows: Rows) -> Self:
        """Return the outcome of these rows."""
        ...


def overall_survival(cohort: Cohort) -> Outcome:
    """Return months from the index date to death of any cause, censored at last contact.

    Raises:
        InvalidCohort: when follow-up or vital status is missing, or someone was not followed at all.

    """
    return _survival(cohort, "overall survival", duration="months_followed", event="died")


def progression_free_survival(cohort: Cohort) -> Outcome:
    """Return months from the index date to progression or death, censored at the last assessment.

    Raises:
        InvalidCohort: when a time or status is missing, or someone was not followed at all.

    """
    return _survival(
        cohort, "progression-free survival", duration="months_progression_free", event="progressed_or_died"
    )


def event_free_survival(cohort: Cohort) -> Outcome:
    """Return months to the trial's own event: progression, death, no response or a new therapy.

    Raises:
        InvalidCohort: when a time or status is missing, or someone was not followed at all.

    """
    return _survival(cohort, "event-free survival", duration="months_event_free", event="event_free_ended")


def relapse_and_non_relapse_mortality(cohort: Cohort) -> CompetingOutcome:
    """Return months to relapse (cause 1) or to death without it (cause 2), whichever came first.

    Raises:
        InvalidCohort: when a time or its ending is missing, or someone was not followed at all.

    """
    fields = ("months_progression_free", "first_event")
    _require_values(cohort, "relapse and non-relapse mortality", fields, duration=fields[0])
    return CompetingOutcome(cohort.values[fields[0]], cohort.values[fields[1]].astype(np.int64))


def complete_response(cohort: Cohort) -> BinaryOutcome:
    """Return complete response; who could not be evaluated did not respond, who is missing is unknown."""
    return _response(cohort, worst=0)


def overall_response(cohort: Cohort) -> BinaryOutcome:
    """Return complete or partial response."""
    return _response(cohort, worst=1)


def disease_control(cohort: Cohort) -> BinaryOutcome:
    """Return complete or partial response or stable disease."""
    return _response(cohort, worst=2)


def grade_3_toxicity(cohort: Cohort) -> BinaryOutcome:
    """Return toxicity of CTCAE grade 3 or higher at any time."""
    return _flag(cohort, "grade_3_toxicity")


def treatment_related_death(cohort: Cohort) -> BinaryOutcome:
    """Return death caused by the treatment."""
    return _flag(cohort, "treatment_related_death")


def _survival(cohort: Cohort, name: str, *, duration: str, event: str) -> Outcome:
    _require_values(cohort, name, (duration, event), duration=duration)
    return Outcome(cohort.values[duration], cohort.values[event] == 1.0)


def _response(cohort: Cohort, *, worst: int) -> BinaryOutcome:
    _require_columns(cohort, "response", ("response",))
    values = cohort.values["response"]
    return BinaryOutcome(values <= worst, ~np.isnan(values))


def _flag(cohort: Cohort, name: str) -> BinaryOutcome:
    _require_columns(cohort, name, (name,))
    values = cohort.values[name]
    return BinaryOutcome(values == 1.0, ~np.isnan(values))


def _require_columns(cohort: Cohort, name: str, fields: tuple[str, ...]) -> None:
    problems = [
        Problem(field, "is missing from the cohort", "map it in the recipe")
        for field in fields
        if field not in cohort.values
    ]
    if problems:
        raise InvalidCohort(name, problems)


def _require_values(cohort: Cohort, name: str, fields: tuple[str, ...], *, duration: str) -> None:
    _require_columns(cohort, name, fields)
    problems = []
    for field in fields:
        if (blank := np.flatnonzero(np.isnan(cohort.values[field]))).size:
            problems.append(
                _rows(field, "has no value", "complete it, or exclude those patients in the recipe", blank)
            )
    if (unfollowed := np.flatnonzero(cohort.values[duration] <= 0)).size:
        remedy = "exclude patients without follow-up after the index date"
        problems.append(_rows(duration, "is zero", remedy, unfollowed))
    if problems:
        raise InvalidCohort(name, problems)


def _rows(field: str, problem: str, remedy: str, rows: npt.NDArray[np.int64]) -> Problem:
    return Problem(field, problem, remedy, int(rows.size), tuple((rows[:5] + 1).tolist()))


BINARY_ENDPOINTS: Mapping[str, Callable[[Cohort], BinaryOutcome]] = {
    "complete_response": complete_response,
    "overall_response": overall_response,
    "disease_control": disease_control,
    "grade_3_toxicity": grade_3_toxicity,
    "treatment_related_death": treatment_related_death,
}


def _alone(name: str) -> Callable[[Cohort], ResponseOutcome]:
    return lambda cohort: ResponseOutcome((name,), (BINARY_ENDPOINTS[name](cohort),))


def response(cohort: Cohort) -> ResponseOutcome:
    """Return complete response, overall response and disease control, as far as the cohort tells them apart.

    A response that nobody has beyond the one before it (no stable disease was recorded, say) is left out.

    Raises:
        InvalidCohort: when the cohort does not record responses.

    """
    found: dict[str, BinaryOutcome] = {}
    for name in ("complete_response", "overall_response", "disease_control"):
        part = BINARY_ENDPOINTS[name](cohort)
        if not any(np.array_equal(part.event, other.event) for other in found.values()):
            found[name] = part
    return ResponseOutcome(tuple(found), tuple(found.values()))


@dataclass(frozen=True)
class Endpoint:
    """What may be predicted: its kind, the names and labels of its probabilities, and how it is read.

    ``labels`` complete the sentence "the probability of ..."; with time it goes on "... by 24 months".
    """

    name: str
    title: str
    kind: str
    labels: Mapping[str, str]
    fields: tuple[str, ...]
    read: Callable[[Cohort], Any]

    @property
    def timed(self) -> bool:
        """Tell whether the probabilities depend on time."""
        return self.kind != RESPONSE

    @property
    def duration(self) -> str:
        """Return the field of an endpoint with time that holds the follow-up."""
        return self.fields[0]


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint(
            "overall_survival", "Overall survival", SURVIVAL,
            {"overall_survival": "being alive"},
            ("months_followed", "died"), overall_survival,
        ),
        Endpoint(
            "progression_free_survival", "Progression-free survival", SURVIVAL,
            {"progression_free_survival": "being alive without progression"},
            ("months_progression_free", "progressed_or_died"), progression_free_survival,
        ),
        Endpoint(
            "event_free_survival", "Event-free survival", SURVIVAL,
            {"event_free_survival": "being free of the trial's events"},
            ("months_event_free", "event_free_ended"), event_free_survival,
        ),
        Endpoint(
            "relapse_and_non_relapse_mortality", "Relapse and non-relapse mortality", COMPETING_RISKS,
            {"relapse": "relapse or progression", "non_relapse_mortality": "death without relapse"},
            ("months_progression_free", "first_event"), relapse_and_non_relapse_mortality,
        ),
        Endpoint(
            "response", "Response", RESPONSE,
            {
                "complete_response": "a complete response",
                "overall_response": "a complete or partial response",
                "disease_control": "a response or stable disease",
            },
            ("response",), response,
        ),
        *(
            Endpoint(name, title, RESPONSE, {name: label}, (name,), _alone(name))
            for name, title, label in (
                ("grade_3_toxicity", "Severe toxicity", "toxicity of grade 3 or higher"),
                ("treatment_related_death", "Treatment-related death", "death caused by the treatment"),
            )
        ),
    )
}  # fmt: skip


def event_counts(cohort: Cohort) -> dict[str, int]:
    """Return the number of events of every endpoint that the cohort records."""
    counts = {
        endpoint.name: int((cohort.values[endpoint.fields[1]] == 1.0).sum())
        for endpoint in ENDPOINTS.values()
        if endpoint.kind == SURVIVAL and endpoint.fields[1] in cohort.values
    }
    if "first_event" in cohort.values:
        for cause, name in ((1.0, "relapse"), (2.0, "non_relapse_mortality")):
            counts[name] = int((cohort.values["first_event"] == cause).sum())
    for name, read in BINARY_ENDPOINTS.items():
        field = name if name in ("grade_3_toxicity", "treatment_related_death") else "response"
        if field in cohort.values:
            counts[name] = int(read(cohort).event.sum())
    return counts


def outcome_events(outcome: Any, names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of events of each of an outcome's probabilities.

    >>> outcome_events(Outcome(np.array([1.0, 2.0]), np.array([True, False])), ("overall_survival",))
    {'overall_survival': 1}
    """
    if isinstance(outcome, ResponseOutcome):
        return {n: int((p.event & p.known).sum()) for n, p in zip(outcome.names, outcome.parts, strict=True)}
    if isinstance(outcome, CompetingOutcome):
        return {name: int((outcome.cause == at).sum()) for at, name in enumerate(names, start=1)}
    return {name: int(outcome.event.sum()) for name in names}
