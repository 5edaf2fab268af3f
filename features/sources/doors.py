"""The dispatcher: it picks the door through which a recipe's input is read.

A new kind of source is one file with a :class:`~features.sources.door.Door`, and its line in ``DOORS``.
"""

from pathlib import Path
from typing import Any

from features.cohort import Cohort
from features.errors import InvalidCohort, Problem
from features.sources.cbioportal import StudyDoor
from features.sources.door import Door, SourceRecipe, SourceTables
from features.sources.fhir import FhirDoor
from features.sources.omop import OmopDoor
from features.sources.public import PublicDoor
from features.sources.sql import DatabaseDoor
from features.sources.table import FileDoor

DOORS: tuple[Door[Any], ...] = (
    PublicDoor(),
    DatabaseDoor(),
    StudyDoor(),
    FileDoor(),
    OmopDoor(),
    FhirDoor(),
)
"""Of the doors that follow a recipe of this kind, the first that recognises the input reads it."""


def read_source(recipe: SourceRecipe, source: Path | str | None = None) -> SourceTables | Cohort:
    """Read a recipe's input, a path or an address, or its public source where none is given.

    Raises:
        InvalidCohort: when there is no input, no door recognises it, or its door cannot read it.
        MissingExtra: when the source needs a package that is not installed.

    """
    address = recipe.public if source is None else str(source)
    doors = [door for door in DOORS if isinstance(recipe, door.follows)]
    door = next((door for door in doors if address is not None and door.recognises(address)), None)
    if door is None or address is None:
        problem = "is needed by this recipe" if address is None else "is of a kind that no door reads"
        remedy = "add --input with " + ", or ".join(door.inputs for door in doors)
        raise InvalidCohort(f"recipe {recipe.name}", [Problem("input", problem, remedy)])
    read: SourceTables | Cohort = door.read(recipe, address)
    return read
