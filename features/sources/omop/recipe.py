"""The recipe of an OMOP CDM: the index episode, and which records count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.omop.cdm import listed

TREATMENT = 32531
RECURRENCE_OR_PROGRESSION = (32529, 32677, 32949)


@dataclass(frozen=True)
class IndexRule:
    """Which episode sets the index date.

    ``event`` is the index event in words, ``reason`` that of excluding persons without it.
    """

    concepts: tuple[int, ...]
    least_number: int | None
    event: str
    reason: str

    @property
    def condition(self) -> str:
        """Return the rule as an SQL condition on ``episode``."""
        number = "" if self.least_number is None else f" AND episode_number >= {self.least_number}"
        return f"episode_concept_id IN ({listed(self.concepts)}){number}"

    def matches(self, episodes: pd.DataFrame) -> "pd.Series[bool]":
        """Return which episodes meet the rule."""
        matched = episodes["episode_concept_id"].isin(list(self.concepts))
        return (
            matched
            if self.least_number is None
            else matched & (episodes["episode_number"] >= self.least_number)
        )


INDEXES: Mapping[str, IndexRule] = {
    "progression": IndexRule(
        RECURRENCE_OR_PROGRESSION,
        None,
        "first episode of progression or recurrence",
        "no episode of progression or recurrence",
    ),
    "second_treatment": IndexRule(
        (TREATMENT,), 2, "start of the second treatment episode", "no second treatment episode"
    ),
}


@dataclass(frozen=True, kw_only=True)
class OmopRecipe:
    """The choices that a CDM 5.4 database with the oncology extension's episodes leaves open.

    ``evidence`` is ``real`` or ``synthetic``. ``index`` is ``progression`` (the first disease episode of
    progression or recurrence) or ``second_treatment`` (the first treatment episode numbered 2 or more).
    ``schema`` is the schema of the CDM's tables. Laboratory values are the latest of the ``lab_days`` up to
    the index date; with ``unknown_units="missing"`` those in a unit that the dictionary cannot convert are
    left out and counted, else they are a problem. A death up to ``death_grace_days`` after the end of
    observation counts.
    """

    evidence: str
    index: str = "progression"
    schema: str | None = None
    citation: str | None = None
    terms: str = "as agreed with the holder of the database"
    lab_days: int = 30
    death_grace_days: int = 60
    unknown_units: Literal["refuse", "missing"] = "refuse"
    name: ClassVar[str] = "omop"
    public: ClassVar[None] = None

    def require_known_choices(self) -> None:
        """Check the choices.

        Raises:
            InvalidCohort: naming each unknown one and its alternatives.

        """
        choices = (
            ("evidence", self.evidence, ("real", "synthetic")),
            ("index", self.index, tuple(INDEXES)),
            ("unknown_units", self.unknown_units, ("refuse", "missing")),
        )
        problems = [
            Problem(name, f"cannot be {given}", "use one of " + ", ".join(allowed))
            for name, given, allowed in choices
            if given not in allowed
        ]
        if problems:
            raise InvalidCohort("OMOP CDM", problems)

    @property
    def index_rule(self) -> IndexRule:
        """Return the rule for the index episode."""
        return INDEXES[self.index]
