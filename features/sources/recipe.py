"""Recipes: a source's table turned into a cohort by data, not code.

A recipe names the table's patient column, who is included, how each dictionary field is read from the
columns, and where the data came from. ``docs/recipes.md`` explains every key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from features.dictionary import Dictionary, Field, load_dictionary
from features.errors import InvalidRecipe, NotFound, Problem

KEYS = frozenset(
    {"name", "title", "evidence", "source", "index_event", "patient", "reshape", "include", "fields"}
)
OPTIONAL = frozenset({"reshape", "include"})
SOURCE_KEYS = frozenset({"public", "citation", "terms", "selection", "notes"})
SUM_KEYS = frozenset({"column", "unit", "subtract"})
MONTH = 365.25 / 12
YEAR = 365.25
DAYS_IN = {"days": 1.0, "weeks": 7.0, "months": MONTH, "years": YEAR}


@dataclass(frozen=True)
class Term:
    """One column of a sum, counted with its sign, in a unit of time where it has one."""

    column: str
    sign: int
    unit: str | None


@dataclass(frozen=True)
class Mapped:
    """How one dictionary field is read: a constant, a coded column, or a sum of columns."""

    constant: object = None
    column: str | None = None
    codes: Mapping[object, object] | None = None
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Reshape:
    """Turns several rows a patient into one: ``columns`` are repeated once per code of ``by``."""

    by: str
    codes: Mapping[object, str]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Inclusion:
    """Patients are kept or left out by a column's code; those left out are counted under the reason.

    A code in neither list is a problem of the table, never a silent exclusion.
    """

    column: str
    keep: tuple[object, ...]
    leave_out: tuple[object, ...]
    reason: str


@dataclass(frozen=True)
class Recipe:
    """Everything needed to turn one source's table into a cohort."""

    name: str
    title: str
    evidence: str
    index_event: str
    patient: str
    citation: str
    terms: str
    selection: tuple[str, ...]
    public: tuple[str, str] | None
    reshape: Reshape | None
    include: tuple[Inclusion, ...]
    fields: Mapping[str, Mapped]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that must stand in the table after any reshaping."""
        named = [self.patient, *(rule.column for rule in self.include)]
        for mapped in self.fields.values():
            named += [mapped.column] if mapped.column else []
            named += [term.column for term in mapped.terms]
        return tuple(dict.fromkeys(named))


def recipe_names() -> tuple[str, ...]:
    """Return the ready recipes' names."""
    files = resources.files("features.sources").joinpath("recipes").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def load_recipe(name: str) -> Recipe:
    """Return a ready recipe by name, or one from a YAML file by path.

    Raises:
        NotFound: when there is neither.
        InvalidRecipe: naming everything in it that cannot be followed.

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
    """Read a declared recipe.

    Raises:
        InvalidRecipe: naming everything in it that cannot be followed.

    """
    problems = _problems(declared, dictionary)
    if problems:
        raise InvalidRecipe(f"recipe {declared.get('name', '?')}", problems)
    source = declared["source"]
    reshape = declared.get("reshape")
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
        public=(public["package"], public["item"]) if public else None,
        reshape=Reshape(reshape["by"], reshape["codes"], tuple(reshape["columns"])) if reshape else None,
        include=tuple(_inclusion(rule) for rule in declared.get("include", ())),
        fields={name: _mapped(entry) for name, entry in declared["fields"].items()},
    )


def _yaml(name: str, text: str) -> Mapping[str, Any]:
    try:
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRecipe(name, [Problem("file", "is not YAML", str(error).splitlines()[0])]) from error
    if not isinstance(declared, dict):
        raise InvalidRecipe(name, [Problem("file", "is not a mapping", "start from a ready recipe")])
    return declared


def _inclusion(rule: Mapping[str, Any]) -> Inclusion:
    return Inclusion(rule["column"], tuple(rule["keep"]), tuple(rule["leave_out"]), rule["reason"])


def _mapped(entry: Mapping[str, Any]) -> Mapped:
    if "constant" in entry:
        return Mapped(constant=entry["constant"])
    if "sum" in entry:
        terms = (Term(t["column"], -1 if t.get("subtract") else 1, t.get("unit")) for t in entry["sum"])
        return Mapped(terms=tuple(terms))
    if "unit" in entry:
        return Mapped(terms=(Term(entry["column"], 1, entry["unit"]),))
    return Mapped(column=entry["column"], codes=entry.get("codes"))


def _problems(declared: Mapping[str, Any], dictionary: Dictionary) -> list[Problem]:
    problems = [Problem(k, "is missing", "declare it") for k in sorted(KEYS - OPTIONAL) if k not in declared]
    problems += _unknown_keys("recipe", declared, KEYS)
    kinds = {"source": dict, "fields": dict, "reshape": dict, "include": list}
    problems += [
        Problem(key, "has the wrong form", f"give a {'list' if kind is list else 'mapping'}")
        for key, kind in kinds.items()
        if key in declared and not isinstance(declared[key], kind)
    ]
    if problems:
        return problems
    source = declared["source"]
    needed = SOURCE_KEYS - {"public", "notes"}
    problems += [
        Problem(f"source.{k}", "is missing", "declare it") for k in sorted(needed) if k not in source
    ]
    problems += _unknown_keys("source", source, SOURCE_KEYS)
    if declared["evidence"] not in ("real", "synthetic"):
        problems.append(Problem("evidence", "is neither real nor synthetic", "say which it is"))
    if "public" in source:
        problems += _exact_keys("source.public", source["public"], {"package": str, "item": str})
    if not declared["fields"]:
        problems.append(Problem("fields", "maps nothing", "map dictionary fields"))
    if "reshape" in declared:
        problems += _exact_keys("reshape", declared["reshape"], {"by": str, "codes": dict, "columns": list})
    for rule in declared.get("include", ()):
        problems += _inclusion_problems(rule)
    for name, entry in declared["fields"].items():
        problems += _field_problems(name, entry, dictionary)
    return problems


def _unknown_keys(place: str, entry: Mapping[str, Any], known: frozenset[str] | set[str]) -> list[Problem]:
    remedy = "use " + ", ".join(sorted(known))
    return [Problem(f"{place}.{key}", "is an unknown key", remedy) for key in entry if key not in known]


def _exact_keys(place: str, entry: Any, kinds: Mapping[str, type]) -> list[Problem]:
    """Report what is not exactly these keys, each of its kind."""
    if not isinstance(entry, dict):
        return [Problem(place, "has the wrong form", "give a mapping of " + ", ".join(kinds))]
    words: dict[type, str] = {str: "a text", dict: "a mapping", list: "a list"}
    return [
        *_unknown_keys(place, entry, set(kinds)),
        *(
            Problem(f"{place}.{key}", "is missing or of the wrong form", f"give {words[kind]}")
            for key, kind in kinds.items()
            if not isinstance(entry.get(key), kind)
        ),
    ]


def _inclusion_problems(rule: Any) -> list[Problem]:
    problems = _exact_keys("include", rule, {"column": str, "keep": list, "leave_out": list, "reason": str})
    if problems:
        return problems
    both = {str(code) for code in rule["keep"]} & {str(code) for code in rule["leave_out"]}
    return [Problem("include", f"keeps and leaves out {code}", "choose one") for code in sorted(both)]


FORMS: Mapping[str, frozenset[str]] = {
    "constant": frozenset({"constant"}),
    "column": frozenset({"column", "codes", "unit"}),
    "sum": frozenset({"sum"}),
}


def _field_problems(name: str, entry: Any, dictionary: Dictionary) -> list[Problem]:
    if name not in dictionary:
        return [Problem(name, "is not in the dictionary", "use one of " + ", ".join(dictionary.names))]
    forms = [form for form in FORMS if isinstance(entry, dict) and form in entry]
    if len(forms) != 1:
        return [Problem(name, "is not mapped", "give exactly one of constant, column or sum")]
    problems = _unknown_keys(name, entry, FORMS[forms[0]])
    if "codes" in entry and "unit" in entry:
        problems.append(Problem(name, "has both codes and a unit", "keep one of them"))
    field = dictionary[name]
    codes = entry.get("codes", {})
    if not isinstance(codes, dict):
        return [*problems, Problem(f"{name}.codes", "has the wrong form", "give a mapping of codes")]
    if "column" in entry and not isinstance(entry["column"], str):
        problems.append(Problem(f"{name}.column", "has the wrong form", "give one column's name"))
    if "unit" in entry:
        return problems + _term_problems(name, entry, field)
    targets = [entry["constant"]] if "constant" in entry else list(codes.values())
    what = "no category" if field.type == "category" else "not allowed"
    problems += [
        Problem(name, f"maps a code to {target!r}, which is {what}", f"expected {field.expected}")
        for target in targets
        if target is None or field.read([target]).faults
    ]
    return problems + _term_problems(name, entry, field)


def _term_problems(name: str, entry: Mapping[str, Any], field: Field) -> list[Problem]:
    terms = entry.get("sum", [entry] if "unit" in entry else [])
    if (
        not isinstance(terms, list)
        or ("sum" in entry and not terms)
        or not all(isinstance(t, dict) and isinstance(t.get("column"), str) for t in terms)
    ):
        return [Problem(f"{name}.sum", "has the wrong form", "list entries with a column each")]
    problems = [p for t in terms if "sum" in entry for p in _unknown_keys(f"{name}.sum", t, SUM_KEYS)]
    problems += [
        Problem(name, f"has the unknown unit {term['unit']}", "use " + ", ".join(DAYS_IN))
        for term in terms
        if term.get("unit") is not None and term["unit"] not in DAYS_IN
    ]
    if any(term.get("unit") for term in terms) and field.unit not in DAYS_IN:
        problems.append(Problem(name, "is not a time", "leave the unit out"))
    return problems
