"""A door made for tests, as anybody would add one: JSON Lines, one patient a line."""

import pandas as pd

from features.sources.door import Tables
from features.sources.recipe import Recipe


class JsonLinesDoor:
    """A ``.jsonl`` file."""

    name = "JSON Lines"
    inputs = "a .jsonl file"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Tell by the suffix."""
        return source.endswith(".jsonl")

    def read(self, recipe: Recipe, source: str) -> Tables:
        """Return the file as one table."""
        return Tables(recipe, pd.read_json(source, lines=True))
