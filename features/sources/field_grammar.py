"""Checking one field of a declared recipe: its form, its keys, and values that the dictionary allows."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from features.dictionary import Dictionary, Field
from features.errors import Problem
from features.sources.forms import COMPARISONS, DAYS_IN, units_of

WORDS: Mapping[type, str] = {str: "a text", dict: "a mapping", list: "a list", object: "a value"}
TEXT_KEYS = frozenset({"column", "codes", "matches", "contains", "otherwise", "until"})
FORMS: Mapping[str, frozenset[str]] = {
    "constant": frozenset({"constant"}),
    "column": TEXT_KEYS | {"unit"},
    "sum": frozenset({"sum"}),
    "cases": frozenset({"cases", "otherwise"}),
    "first_of": frozenset({"first_of"}),
}
EVERYWHERE = frozenset({"where", "diseases"})
JOINED = frozenset({"related", "without", "several"})
SUM_KEYS = frozenset({"column", "unit", "subtract"})


def unknown_keys(place: str, entry: Mapping[Any, Any], known: Iterable[str]) -> list[Problem]:
    """Return a problem for each key that is not allowed at this place."""
    allowed = frozenset(known)
    remedy = "use " + ", ".join(sorted(allowed))
    return [Problem(f"{place}.{key}", "is an unknown key", remedy) for key in entry if key not in allowed]


def shaped(
    place: str, entry: Any, kinds: Mapping[str, type], *, optional: Mapping[str, type] | None = None
) -> list[Problem]:
    """Return problems of a mapping that lacks keys, has others, or has values of the wrong type."""
    if not isinstance(entry, dict):
        return [Problem(place, "has the wrong form", "give a mapping of " + ", ".join(kinds))]
    allowed = {**kinds, **(optional or {})}
    return [
        *unknown_keys(place, entry, allowed),
        *(
            Problem(f"{place}.{key}", "is missing or of the wrong form", f"give {WORDS[kind]}")
            for key, kind in allowed.items()
            if (key in entry or key in kinds) and not isinstance(entry.get(key), kind)
        ),
    ]


def condition_problems(place: str, entry: Any) -> list[Problem]:
    """Return problems of conditions that are neither a list of codes nor comparisons."""
    if not isinstance(entry, dict):
        return [Problem(place, "has the wrong form", "give a mapping of columns")]
    problems = []
    for column, wanted in entry.items():
        where = f"{place}.{column}" if column else place
        if isinstance(wanted, dict):
            problems += unknown_keys(where, wanted, (*COMPARISONS, "known"))
            problems += [
                Problem(where, f"compares with no number or column: {key}", "name a column or give a number")
                for key, other in wanted.items()
                if isinstance(other, bool) != (key == "known") or not isinstance(other, str | int | float)
            ]
        elif not isinstance(wanted, list):
            problems.append(Problem(where, "has the wrong form", "list the codes, or give a comparison"))
    return problems


def field_problems(name: str, entry: Any, dictionary: Dictionary, related: frozenset[str]) -> list[Problem]:
    """Return every mistake in one entry of ``fields``."""
    if name not in dictionary:
        near = difflib.get_close_matches(name, dictionary.names, n=3)
        remedy = f"did you mean {', '.join(near)}?" if near else "docs/dictionary.md lists every field"
        return [Problem(name, "is not in the dictionary", remedy)]
    return _entry_problems(name, entry, dictionary, related)


def _entry_problems(name: str, entry: Any, dictionary: Dictionary, related: frozenset[str]) -> list[Problem]:
    forms = [form for form in FORMS if isinstance(entry, dict) and form in entry]
    if len(forms) != 1:
        return [Problem(name, "is not mapped", "give exactly one of " + ", ".join(FORMS))]
    (form,), joined = forms, "related" in entry
    problems = unknown_keys(name, entry, FORMS[form] | EVERYWHERE | (JOINED if joined else frozenset()))
    problems += condition_problems(f"{name}.where", entry.get("where", {}))
    known = dictionary["disease"].category_names
    if not isinstance(diseases := entry.get("diseases", []), list):
        problems.append(Problem(f"{name}.diseases", "has the wrong form", "list diseases"))
    else:
        remedy = "use " + ", ".join(known)
        problems += [
            Problem(name, f"names the unknown disease {d}", remedy) for d in diseases if d not in known
        ]
    if joined:
        problems += _joined_problems(name, entry, form, related)
    if form == "first_of":
        return problems + _reading_problems(name, entry["first_of"], dictionary, related)
    return problems + _form_problems(name, entry, form, dictionary[name])


def _joined_problems(
    name: str, entry: Mapping[str, Any], form: str, related: frozenset[str]
) -> list[Problem]:
    problems = []
    if form not in ("constant", "column"):
        remedy = "give a constant, or a column with or without codes"
        problems.append(Problem(name, "reads records in a form that is not for records", remedy))
    if not isinstance(entry["related"], str) or entry["related"] not in related:
        known = ", ".join(sorted(related)) or "none yet"
        problems.append(Problem(name, "names an unknown related table", f"declare it under related; {known}"))
    if "without" not in entry:
        problems.append(Problem(f"{name}.without", "is missing", "say the value without a record, or null"))
    return problems


def _reading_problems(
    name: str, readings: Any, dictionary: Dictionary, related: frozenset[str]
) -> list[Problem]:
    if not isinstance(readings, list) or not readings:
        return [Problem(f"{name}.first_of", "has the wrong form", "list readings")]
    return [p for reading in readings for p in _entry_problems(name, reading, dictionary, related)]


def _form_problems(name: str, entry: Mapping[str, Any], form: str, field: Field) -> list[Problem]:
    problems = {"column": _column_problems, "cases": _case_problems}.get(form, _no_problems)(name, entry)
    if form == "sum" or "unit" in entry:
        problems += _term_problems(name, entry, field)
    return problems if problems else list(_target_problems(name, entry, field))


def _no_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    return []


def _column_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if not isinstance(entry["column"], str):
        problems.append(Problem(f"{name}.column", "has the wrong form", "give the column's name as a text"))
    problems += [
        Problem(f"{name}.{key}", "has the wrong form", f"give a mapping of {key}")
        for key in ("codes", "matches")
        if key in entry and not isinstance(entry[key], dict)
    ]
    problems += [
        Problem(f"{name}.{key}", "has the wrong form", "give a text or a list of texts")
        for key in ("contains", "until")
        if key in entry and not _is_texts(entry[key])
    ]
    if "codes" in entry and "unit" in entry:
        problems.append(Problem(name, "has both codes and a unit", "keep one of them"))
    if "contains" in entry and {"codes", "matches", "otherwise"} & set(entry):
        problems.append(Problem(name, "has contains beside other rules", "use matches for all of them"))
    if {"otherwise", "until"} & set(entry) and not {"codes", "matches", "contains"} & set(entry):
        problems.append(Problem(name, "has nothing to be read by", "add codes, matches or contains"))
    if isinstance(patterns := entry.get("matches", {}), dict):
        problems += [
            Problem(f"{name}.matches", f"has the impossible pattern {p}", "correct the regular expression")
            for p in patterns
            if not _is_pattern(p)
        ]
    return problems


def _is_texts(entry: Any) -> bool:
    texts = [entry] if isinstance(entry, str) else entry
    return isinstance(texts, list) and bool(texts) and all(isinstance(t, str) and t for t in texts)


def _is_pattern(pattern: object) -> bool:
    try:
        return isinstance(pattern, str) and re.compile(pattern) is not None
    except re.error:
        return False


def _case_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    cases = entry["cases"]
    if not isinstance(cases, list) or not cases:
        return [Problem(f"{name}.cases", "has the wrong form", "list cases, each with when and value")]
    problems = []
    for case in cases:
        problems += shaped(f"{name}.cases", case, {"when": dict, "value": object})
        if isinstance(case, dict) and isinstance(case.get("when"), dict):
            problems += condition_problems(f"{name}.cases.when", case["when"])
            if "value" not in case:
                problems.append(Problem(f"{name}.cases.value", "is missing", "say it, or null"))
            if not case["when"]:
                problems.append(Problem(f"{name}.cases.when", "is empty", "use otherwise for the rest"))
    return problems


def _term_problems(name: str, entry: Mapping[str, Any], field: Field) -> list[Problem]:
    terms = entry.get("sum", [entry])
    if (
        not isinstance(terms, list)
        or not terms
        or not all(isinstance(t, dict) and isinstance(t.get("column"), str) for t in terms)
    ):
        return [Problem(f"{name}.sum", "has the wrong form", "list entries with a column each")]
    known = units_of(field)
    remedy = f"use {', '.join(known)}" if known else "leave the unit out: the field has none"
    problems = [p for t in terms if "sum" in entry for p in unknown_keys(f"{name}.sum", t, SUM_KEYS)]
    problems += [
        Problem(name, _wrong_unit(term["unit"]), remedy)
        for term in terms
        if term.get("unit") is not None and term["unit"] not in known
    ]
    return problems


def _wrong_unit(unit: object) -> str:
    return "is not a time" if unit in DAYS_IN else f"has the unknown unit {unit}"


def _target_problems(name: str, entry: Mapping[str, Any], field: Field) -> Iterator[Problem]:
    """Yield a problem for each value that the field cannot take; null, for missing, is allowed."""
    for target in _targets(entry, field):
        if target is None or not field.read([target]).faults:
            continue
        if field.type == "category":
            fault = f"maps a code to {target!r}, which is no category"
        else:
            fault = f"maps to {target!r}, which is not allowed"
        yield Problem(name, fault, f"expected {field.expected}")


def _targets(entry: Mapping[str, Any], field: Field) -> Iterator[object]:
    yield from entry.get("codes", {}).values()
    yield from entry.get("matches", {}).values()
    yield from (case["value"] for case in entry.get("cases", ()))
    yield from (entry[key] for key in ("constant", "otherwise", "without", "several") if key in entry)
    if "contains" in entry and field.type != "flag":
        yield True
