"""What a door is: one kind of source, the inputs that it recognises, and how it reads a recipe's input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import pandas as pd

    from features.cohort import Cohort
    from features.sources.recipe import Recipe


class SourceRecipe(Protocol):
    """What the dispatcher needs of any recipe; the rest is between the recipe and its doors.

    Tables need a :class:`~features.sources.recipe.Recipe`, which maps their columns. A published standard,
    such as OMOP or FHIR, has a recipe class of its own, with the few choices that the standard leaves open.
    """

    @property
    def name(self) -> str:
        """Return the name that the cohort's provenance gives as its recipe."""
        ...

    @property
    def public(self) -> str | None:
        """Return the address of the source that is read where no input is given, None where one is needed."""
        ...


@dataclass(frozen=True)
class SourceTables:
    """A source's tables as they stand, and the recipe that maps them; ``related`` has its names for them."""

    recipe: "Recipe"
    patients: "pd.DataFrame"
    related: Mapping[str, "pd.DataFrame"] = field(default_factory=dict)


RecipeT = TypeVar("RecipeT", bound=SourceRecipe)


class Door(Protocol[RecipeT]):
    """One kind of source, read by one kind of recipe.

    ``name`` is what people call it, ``inputs`` says in words what may be given, and ``follows`` is the class
    of its recipes.
    """

    name: str
    inputs: str
    follows: type[RecipeT]

    def recognises(self, source: str) -> bool:
        """Return whether this door reads the input, from its text or from the file or folder at that path."""
        ...

    def read(self, recipe: RecipeT, source: str) -> "SourceTables | Cohort":
        """Read the tables that a recipe maps, or, of a standard, the whole cohort.

        Raises:
            InvalidCohort: naming everything in the source that cannot be read as it should.
            MissingExtra: when the source needs a package that is not installed.

        """
        ...
