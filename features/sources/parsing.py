"""From the entries of a declared recipe, which the grammar has checked, to its frozen parts."""

import re
from collections.abc import Mapping
from typing import Any

from features.sources.forms import (
    COMPARISONS,
    Case,
    Cases,
    CodedColumn,
    Constant,
    DuplicateRule,
    FieldMapping,
    FirstOf,
    Form,
    InclusionRule,
    Joined,
    MissingCodes,
    PlainColumn,
    RelatedTable,
    Reshape,
    RowCondition,
    Sum,
    SumTerm,
    explicit,
)


def mapped(entry: Mapping[str, Any]) -> FieldMapping:
    """Return how a field is read.

    >>> mapped({"column": "dead", "codes": {1: True, 0: False}}).form.column
    'dead'
    """
    return FieldMapping(_form(entry), conditions(entry.get("where", {})), tuple(entry.get("diseases", ())))


def _form(entry: Mapping[str, Any]) -> Form:
    if "related" in entry:
        form = _one_column(entry)
        assert isinstance(form, Constant | CodedColumn | PlainColumn | Sum)
        return Joined(entry["related"], form, entry["without"], explicit(entry, "several"))
    if "first_of" in entry:
        return FirstOf(tuple(mapped(reading) for reading in entry["first_of"]))
    if "cases" in entry:
        cases = (Case(conditions(case["when"]), case["value"]) for case in entry["cases"])
        return Cases(tuple(cases), explicit(entry, "otherwise"))
    if "sum" in entry:
        terms = (SumTerm(t["column"], -1 if t.get("subtract") else 1, t.get("unit")) for t in entry["sum"])
        return Sum(tuple(terms))
    return _one_column(entry)


def _one_column(entry: Mapping[str, Any]) -> Form:
    if "constant" in entry:
        return Constant(entry["constant"])
    if "unit" in entry:
        return Sum((SumTerm(entry["column"], 1, entry["unit"]),))
    until = _texts(entry.get("until", ()))
    if "contains" in entry:
        pattern = "|".join(re.escape(text) for text in _texts(entry["contains"]))
        return CodedColumn(entry["column"], {}, ((pattern, True),), (False,), until)
    if "codes" in entry or "matches" in entry:
        patterns = tuple(entry.get("matches", {}).items())
        return CodedColumn(
            entry["column"], entry.get("codes", {}), patterns, explicit(entry, "otherwise"), until
        )
    return PlainColumn(entry["column"])


def conditions(entry: Mapping[str, Any]) -> tuple[RowCondition, ...]:
    """Return conditions that must all hold: by column, a list of codes or a mapping of comparisons."""
    parsed = []
    for column, wanted in entry.items():
        if isinstance(wanted, dict):
            parsed += [RowCondition(column, None, comparison, other) for comparison, other in wanted.items()]
        else:
            parsed.append(RowCondition(column, tuple(wanted)))
    return tuple(parsed)


def inclusion(rule: Mapping[str, Any]) -> InclusionRule:
    """Return an inclusion criterion, by codes (``keep``, ``leave_out``) or by one comparison."""
    if "keep" in rule:
        condition = RowCondition(rule["column"], tuple(rule["keep"]))
        return InclusionRule(rule["reason"], condition, tuple(rule["leave_out"]))
    comparison = next(c for c in (*COMPARISONS, "known") if c in rule)
    condition = RowCondition(rule["column"], None, comparison, rule[comparison])
    return InclusionRule(rule["reason"], condition, missing=rule.get("missing"))


def missing(entry: Any) -> MissingCodes | None:
    """Return the codes for missing; a bare list has no exceptions."""
    if not entry:
        return None
    if isinstance(entry, list):
        return MissingCodes(tuple(entry))
    return MissingCodes(tuple(entry["codes"]), tuple(entry.get("except", ())))


def reshape(entry: Mapping[str, Any] | None) -> Reshape | None:
    """Return how long rows become one a patient, None where they already are."""
    return Reshape(entry["by"], entry["codes"], tuple(entry["columns"])) if entry else None


def duplicates(entry: Mapping[str, Any] | None) -> DuplicateRule | None:
    """Return the columns that identify duplicates, None where there is no such rule."""
    return DuplicateRule(tuple(entry["columns"]), entry["reason"]) if entry else None


def related(entry: Mapping[str, Any]) -> RelatedTable:
    """Return a related file, its columns and its window."""
    window = entry["window"]
    return RelatedTable(
        file=entry["file"],
        key=entry["key"],
        start=entry["start"],
        index=entry["index"],
        first=window.get("from"),
        last=window.get("to"),
        where=conditions(entry.get("where", {})),
        left_out=tuple(entry.get("left_out", ())),
    )


def _texts(entry: Any) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry)
