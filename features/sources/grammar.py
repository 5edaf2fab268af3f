"""Checking a declared recipe: every mistake is named at once, before any table is opened."""

from collections.abc import Mapping
from typing import Any

from features.dictionary import Dictionary
from features.errors import Problem
from features.sources.field_grammar import WORDS, condition_problems, field_problems, shaped, unknown_keys
from features.sources.forms import COMPARISONS

REQUIRED = ("name", "title", "evidence", "source", "index_event", "patient", "fields")
KINDS: Mapping[str, type] = {
    "name": str, "title": str, "evidence": str, "source": dict, "index_event": str, "patient": str,
    "file": str, "reshape": dict, "include": list, "duplicates": dict, "related": dict, "fields": dict,
}  # fmt: skip
KEYS = frozenset({*KINDS, "missing"})
SOURCE_KEYS = frozenset({"public", "citation", "terms", "selection", "notes"})
LEFT_OUT = ("undated", "unmatched")
RELATED: Mapping[str, type] = {"file": str, "key": str, "start": str, "index": str, "window": dict}


def recipe_problems(declared: Mapping[str, Any], dictionary: Dictionary) -> list[Problem]:
    """Return every mistake of a declared recipe; unknown and missing keys alone where there are any."""
    problems = [Problem(key, "is missing", "declare it") for key in REQUIRED if key not in declared]
    problems += unknown_keys("recipe", declared, KEYS)
    problems += [
        Problem(key, "has the wrong form", f"give {WORDS[kind]}")
        for key, kind in KINDS.items()
        if key in declared and not isinstance(declared[key], kind)
    ]
    if problems:
        return problems
    problems = _source_problems(declared["source"])
    if declared["evidence"] not in ("real", "synthetic"):
        problems.append(Problem("evidence", "is neither real nor synthetic", "say which it is"))
    problems += _missing_problems(declared.get("missing", []))
    if "reshape" in declared:
        problems += shaped("reshape", declared["reshape"], {"by": str, "codes": dict, "columns": list})
    if "duplicates" in declared:
        problems += shaped("duplicates", declared["duplicates"], {"columns": list, "reason": str})
    for rule in declared.get("include", ()):
        problems += _inclusion_problems(rule)
    for name, entry in declared.get("related", {}).items():
        problems += _related_problems(f"related.{name}", entry)
    if not declared["fields"]:
        problems.append(Problem("fields", "maps nothing", "map the dictionary fields that the source tells"))
    for name, entry in declared["fields"].items():
        problems += field_problems(str(name), entry, dictionary, frozenset(declared.get("related", {})))
    return problems + _disease_problems(declared["fields"])


def _source_problems(source: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(f"source.{key}", "is missing", "declare it")
        for key in sorted(SOURCE_KEYS - {"public", "notes"})
        if key not in source
    ]
    problems += unknown_keys("source", source, SOURCE_KEYS)
    if not isinstance(source.get("selection", []), list):
        problems.append(Problem("source.selection", "has the wrong form", "give a list of sentences"))
    if "public" in source:
        problems += shaped("source.public", source["public"], {"package": str, "item": str})
    return problems


def _missing_problems(entry: Any) -> list[Problem]:
    if isinstance(entry, list):
        return []
    problems = shaped("missing", entry, {"codes": list}, optional={"except": list})
    return (
        problems if isinstance(entry, dict) else [Problem("missing", "has the wrong form", "list the codes")]
    )


def _inclusion_problems(rule: Any) -> list[Problem]:
    compared = [c for c in (*COMPARISONS, "known") if isinstance(rule, dict) and c in rule]
    if not compared:
        kinds: Mapping[str, type] = {"column": str, "keep": list, "leave_out": list, "reason": str}
        problems = shaped("include", rule, kinds)
        if not problems and (both := [c for c in rule["keep"] if c in rule["leave_out"]]):
            codes = ", ".join(map(str, both))
            problems.append(Problem("include", f"both keeps and leaves out {codes}", "choose one"))
        return problems
    kinds = {"column": str, "reason": str}
    problems = shaped("include", rule, kinds, optional={"missing": str, **dict.fromkeys(compared, object)})
    if len(compared) > 1:
        problems.append(Problem("include", "compares twice", "write one rule for each comparison"))
    return problems + condition_problems("include", {"": {compared[0]: rule[compared[0]]}})


def _related_problems(place: str, entry: Any) -> list[Problem]:
    problems = shaped(place, entry, RELATED, optional={"where": dict, "left_out": list})
    if problems:
        return problems
    window = entry["window"]
    problems += unknown_keys(f"{place}.window", window, {"from", "to"})
    bounds = [window[side] for side in ("from", "to") if window.get(side) is not None]
    if not bounds or not all(isinstance(b, int | float) and not isinstance(b, bool) for b in bounds):
        problems.append(Problem(f"{place}.window", "has no usable bound", "give numbers as from, to or both"))
    problems += [
        Problem(f"{place}.left_out", f"names {name}", "use " + ", ".join(LEFT_OUT))
        for name in entry.get("left_out", ())
        if name not in LEFT_OUT
    ]
    return problems + condition_problems(f"{place}.where", entry.get("where", {}))


def _disease_problems(fields: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each field read by disease in a recipe that does not map the disease."""
    named = [name for name, entry in fields.items() if _by_disease(entry)]
    if "disease" in named:
        return [Problem("disease", "cannot depend on itself", "use where with a column")]
    if "disease" in fields:
        return []
    return [Problem(name, "is read by disease, which is not mapped", "map disease") for name in named]


def _by_disease(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    readings = entry.get("first_of", [])
    return "diseases" in entry or (isinstance(readings, list) and any(_by_disease(r) for r in readings))
