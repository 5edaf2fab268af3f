"""A door made for tests, as anybody would add one: JSON Lines, one patient a line."""

import pandas as pd

from features.sources.door import SourceTables
from features.sources.recipe import Recipe


class JsonLinesDoor:
    """A ``.jsonl`` file."""

    name = "JSON Lines"
    inputs = "a .jsonl file"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Tell by the suffix."""
        return source.endswith(".jsonl")

    def read(self, recipe: Recipe, source: str) -> SourceTables:
        """Return the file as one table."""
        return SourceTables(recipe, pd.read_json(source, lines=True))
