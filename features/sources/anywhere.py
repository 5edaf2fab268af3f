"""A recipe followed from wherever its table is: a file, a folder, a database, a study."""

from pathlib import Path

from features.cohort import Cohort
from features.sources.build import build_cohort, follow
from features.sources.cbioportal import is_study
from features.sources.recipe import Recipe
from features.sources.related import read_related
from features.sources.sql import read_source


def build_from(recipe: Recipe, source: str) -> Cohort:
    """Build a recipe's cohort from a path or an address.

    Raises:
        InvalidCohort: naming everything wrong with the source or its table.
        MissingExtra: when the source needs a package that is not installed.

    """
    path = Path(source)
    if "://" in source or "#" in source or (path.is_dir() and is_study(path)):
        return follow(recipe, read_source(source), related=read_related(recipe.related, None))
    return build_cohort(recipe, file=path)
