"""Endpoints: what counts as the event, measured from the index date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import InvalidCohort, Problem

RESPONSES = ("complete_response", "partial_response", "stable_disease")


@dataclass(frozen=True)
class BinaryOutcome:
    """Whether the event happened, shape (patients,); it counts only where ``known``."""

    event: BoolArray
    known: BoolArray


@dataclass(frozen=True)
class CompetingOutcome:
    """Right-censored times that end in two ways.

    ``cause`` is 0 where censored, 1 for relapse or progression, 2 for death before it.
    """

    duration: FloatArray
    cause: npt.NDArray[np.int64]


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


ENDPOINTS: Mapping[str, Callable[[Cohort], Outcome]] = {
    "overall_survival": overall_survival,
    "progression_free_survival": progression_free_survival,
    "event_free_survival": event_free_survival,
}
ENDPOINT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "overall_survival": ("months_followed", "died"),
    "progression_free_survival": ("months_progression_free", "progressed_or_died"),
    "event_free_survival": ("months_event_free", "event_free_ended"),
}
BINARY_ENDPOINTS: Mapping[str, Callable[[Cohort], BinaryOutcome]] = {
    "complete_response": complete_response,
    "overall_response": overall_response,
    "disease_control": disease_control,
    "grade_3_toxicity": grade_3_toxicity,
    "treatment_related_death": treatment_related_death,
}


def event_counts(cohort: Cohort) -> dict[str, int]:
    """Return the number of events of every endpoint that the cohort records."""
    counts = {
        name: int((cohort.values[fields[1]] == 1.0).sum())
        for name, fields in ENDPOINT_FIELDS.items()
        if fields[1] in cohort.values
    }
    if "first_event" in cohort.values:
        for cause, name in ((1.0, "relapse"), (2.0, "non_relapse_mortality")):
            counts[name] = int((cohort.values["first_event"] == cause).sum())
    for name, endpoint in BINARY_ENDPOINTS.items():
        field = name if name in ("grade_3_toxicity", "treatment_related_death") else "response"
        if field in cohort.values:
            counts[name] = int(endpoint(cohort).event.sum())
    return counts
