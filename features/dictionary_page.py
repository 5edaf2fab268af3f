"""The data dictionary as a page: ``python -m features.dictionary_page > docs/dictionary.md``."""

import sys
from collections.abc import Iterator, Mapping

from features.dictionary import Dictionary, Field, load_dictionary
from features.units import alike, factors

REFRESH = "python -m features.dictionary_page > docs/dictionary.md"
HEAD = ("field", "label", "what is expected", "known", "applies to", "codes")
KNOWN = {"diagnosis": "at diagnosis", "index": "at the index date", "after": "after the index date"}
INTRODUCTION = f"""\
# Data dictionary

Every predictor and outcome, declared once in `features/dictionary.yaml`. Cohorts, requests and model cards
are read by these rules. This page is generated; refresh it with `{REFRESH}`.

- A value outside what is expected is refused; nothing is clipped or guessed.
- A predictor may be missing: leave the field out of a request or give `null`; leave a table's cell empty.
- A field that applies to one disease is refused with a value in another.
- What is known only after the index date is an outcome and is never a predictor.
"""

CREATININE = """\
creatinine:
  label: Creatinine
  group: overall_health
  type: number
  unit: umol/L
  minimum: 0
  maximum: 5000
  usual: [15, 2000]
  known: index
  scale: log
  codes: {loinc: 14682-9}
  conversions: {mg/dL: 88.42}
"""
UNITS = f"""\
## Units

A number in the wrong unit often is a possible number in the right one, so that a range alone does not find
it. Fields below have a usual range, met in patients with cancer, and other usual units. A number inside the
usual range is never questioned. One outside that is inside when read in another unit is refused with the
question which unit was meant: in a request, in a recipe's column, in an Observation. One outside in every
unit is judged by what is expected alone.

"Alike" are the numbers that are usual in both units. Nobody can tell by such a number which unit it is in;
where a whole column is read, its other rows often tell. Units that differ in name only (U/mL and kU/L of
CA-125, CEA, AFP, hCG), and an adult's age in months or days, which no range allows, need no question.

The usual ranges are this project's judgement, chosen wider than the highest limits at which CTCAE 5.0
(National Cancer Institute, 2017) grades a value, and than leukaemic counts, because a true value must not
be refused. Conversions: AMA Manual of Style, 11th ed. (2020); haemoglobin in mmol/L is of the monomer
(IFCC, IUPAC); months are a twelfth of 365.25 days.

A dictionary of your own declares both beside the unit, and a model keeps the dictionary that it was trained
by:

```yaml
{CREATININE}```

| field | unit | usual range | other unit | multiply by | alike |
| --- | --- | --- | --- | --- | --- |
"""


def dictionary_page(dictionary: Dictionary) -> str:
    """Return the page as Markdown, one table a group, in the order in which groups are first declared.

    >>> print(dictionary_page(load_dictionary().slice(["died"])).splitlines()[-1])
    | `died` | Died of any cause during follow-up | true or false | after the index date | every disease |  |
    """
    groups = dict.fromkeys(field.group for field in dictionary.fields)
    tables = [_table(group, [f for f in dictionary.fields if f.group == group]) for group in groups]
    return "\n".join([INTRODUCTION, *tables, *_units(dictionary)])


def _units(dictionary: Dictionary) -> list[str]:
    """Return the section on units, nothing where no field has a usual range."""
    rows = [row for field in dictionary.fields if field.usual for row in _unit_rows(field)]
    return [UNITS + "\n".join(rows) + "\n"] if rows else []


def _unit_rows(field: Field) -> Iterator[str]:
    for unit, factor in factors(field).items():
        if factor != 1.0:
            own, both = field.usual, alike(field, unit)
            told = f"{both[0]:.4g} to {both[1]:.4g}" if both else "none"
            usual = f"{own[0]:.6g} to {own[1]:.6g}" if own else ""
            yield f"| `{field.name}` | {field.unit} | {usual} | {unit} | {factor:.6g} | {told} |"


def _table(group: str, fields: list[Field]) -> str:
    rows = [HEAD, ("---",) * len(HEAD), *map(_row, fields)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"## {group.replace('_', ' ').capitalize()}", "", *lines, ""])


def _row(field: Field) -> tuple[str, ...]:
    scope = "every disease" if field.applies_to is None else ", ".join(field.applies_to)
    return (f"`{field.name}`", field.label, field.expected, KNOWN[field.known], scope, _codes(field))


def _codes(field: Field) -> str:
    """Return the field's own codes, then those of its categories."""
    own = [_pairs(field.codes)] if field.codes else []
    return "; ".join(own + [f"{c.name}: {_pairs(c.codes)}" for c in field.categories if c.codes])


def _pairs(codes: Mapping[str, str]) -> str:
    return ", ".join(f"{system} {code}" for system, code in codes.items())


if __name__ == "__main__":
    sys.stdout.write(dictionary_page(load_dictionary()))
