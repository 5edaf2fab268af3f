"""The data dictionary as a page: ``python -m features.dictionary_page > docs/dictionary.md``."""

import sys
from collections.abc import Mapping

from features.dictionary import Dictionary, Field, load_dictionary

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


def dictionary_page(dictionary: Dictionary) -> str:
    """Return the page as Markdown, one table a group, in the order in which groups are first declared.

    >>> print(dictionary_page(load_dictionary().slice(["died"])).splitlines()[-1])
    | `died` | Died of any cause during follow-up | true or false | after the index date | every disease |  |
    """
    groups = dict.fromkeys(field.group for field in dictionary.fields)
    tables = [_table(group, [f for f in dictionary.fields if f.group == group]) for group in groups]
    return "\n".join([INTRODUCTION, *tables])


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
