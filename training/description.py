"""The description of a cohort: its Table 1, what is missing, and how long patients were followed."""

import html
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.dictionary import GROUPS, Field, FloatArray
from features.endpoints import ENDPOINTS
from features.errors import InvalidInput, NotFound
from models.estimators.curves import kaplan_meier
from training.kinds.registry import AnyKind, kind_of

EVERYONE = "everyone"


@dataclass(frozen=True)
class TableRow:
    """One line of the table: a label and one text per group; ``section`` opens a new block."""

    label: str
    cells: tuple[str, ...]
    section: str


@dataclass(frozen=True)
class Description:
    """A cohort's Table 1; ``groups`` names the columns."""

    title: str
    groups: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def as_dict(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return the table as section -> label -> group -> text."""
        table: dict[str, dict[str, dict[str, str]]] = {}
        for row in self.rows:
            table.setdefault(row.section, {})[row.label] = dict(zip(self.groups, row.cells, strict=True))
        return table

    def as_html(self) -> str:
        """Return a page of its own, without scripts and without anything fetched."""
        head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in ("", *self.groups))
        body, section = [], ""
        for row in self.rows:
            if row.section != section:
                section = row.section
                span = len(self.groups) + 1
                body.append(f"<tr><th colspan='{span}' class='section'>{html.escape(section)}</th></tr>")
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row.cells)
            body.append(f"<tr><th scope='row'>{html.escape(row.label)}</th>{cells}</tr>")
        title = html.escape(self.title)
        return (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
            "</body></html>\n"
        )


STYLE = """
body { font: 16px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: left; font-weight: normal }
thead th { font-weight: bold }
.section { font-weight: bold; padding-top: 1rem }
tbody th[scope=row] { padding-left: 1.5rem }
"""


def describe(cohort: Cohort, *, by: str = "disease") -> Description:
    """Return the cohort's Table 1, a column for everyone and one a value of the field ``by``.

    Numbers show median (first and third quartile), categories and flags count (share of those known);
    missing counts only those in whose disease a field has a meaning. Median follow-up is the reverse
    Kaplan-Meier estimate (Schemper and Smith, Controlled Clinical Trials 1996;17:343).

    Raises:
        NotFound: when ``by`` is no category or flag of the cohort.

    """
    groups = dict(_groups(cohort, by))
    parts = [cohort.take(rows) for rows in groups.values()]
    rows = [TableRow("patients", tuple(f"{len(part):,}" for part in parts), "patients")]
    shown = [f for f in cohort.dictionary.fields if f.name != by and f.known != "after"]
    for field in sorted(shown, key=lambda f: GROUPS.index(f.group)):
        rows += _field_rows(field, [_applicable(part, field) for part in parts])
    for kind in map(kind_of, ENDPOINTS.values()):
        if kind.has_median and all(f in cohort.values for f in kind.endpoint.fields):
            rows += _endpoint_rows(kind, parts)
    recipes = ", ".join(source.recipe for source in cohort.provenance)
    return Description(f"{recipes} ({cohort.evidence})", tuple(groups), tuple(rows))


def _groups(cohort: Cohort, by: str) -> Iterator[tuple[str, BoolArray]]:
    if by not in cohort.values or cohort.dictionary[by].type not in ("category", "flag"):
        kinds = [f.name for f in cohort.dictionary.fields if f.type in ("category", "flag")]
        raise NotFound(f"cannot describe by {by}; the cohort has {', '.join(kinds)}")
    yield EVERYONE, np.ones(len(cohort), dtype=bool)
    field, column = cohort.dictionary[by], cohort.values[by]
    for value in np.unique(column[~np.isnan(column)]):
        yield _value_label(field, float(value)), column == value


def _applicable(part: Cohort, field: Field) -> FloatArray:
    """Return the values of those in whose disease the field has a meaning."""
    if field.applies_to is None:
        return part.values[field.name]
    return part.values[field.name][np.isin(np.array(part.text("disease"), dtype=object), field.applies_to)]


def _field_rows(field: Field, columns: list[FloatArray]) -> Iterator[TableRow]:
    section = field.group.replace("_", " ")
    known = [column[~np.isnan(column)] for column in columns]
    if not known[0].size:
        return
    if field.type in ("number", "integer"):
        unit = f", {field.unit}" if field.unit else ""
        yield TableRow(f"{field.label}{unit}", tuple(map(_quartiles, known)), section)
    elif field.type == "flag":
        yield TableRow(field.label, tuple(_share(int((c == 1).sum()), len(c)) for c in known), section)
    else:
        for position, category in enumerate(field.categories):
            counts = tuple(_share(int((c == position).sum()), len(c)) for c in known)
            if (known[0] == position).any():
                yield TableRow(f"{field.label}: {category.label}", counts, section)
    if any(len(k) < len(c) for k, c in zip(known, columns, strict=True)):
        missing = tuple(_share(len(c) - len(k), len(c)) for k, c in zip(known, columns, strict=True))
        yield TableRow(f"{field.label}: missing", missing, section)


def _endpoint_rows(kind: AnyKind, parts: list[Cohort]) -> Iterator[TableRow]:
    section = kind.endpoint.name.replace("_", " ")
    recorded = [_times(kind, part) for part in parts]
    outcomes = [outcome for outcome in recorded if outcome is not None]
    if len(outcomes) < len(parts):
        return
    yield TableRow("events", tuple(f"{int(o.event.sum()):,}" for o in outcomes), section)
    yield TableRow("median, months", tuple(_median(o) for o in outcomes), section)
    reverse = [Outcome(o.duration, ~o.event) for o in outcomes]
    yield TableRow(
        "median follow-up (reverse Kaplan-Meier), months", tuple(_median(o) for o in reverse), section
    )


def _times(kind: AnyKind, part: Cohort) -> Outcome | None:
    """Return the outcome, None where the cohort does not record it for everyone."""
    try:
        return kind.times(kind.endpoint.read(part))
    except InvalidInput:
        return None


def _median(outcome: Outcome) -> str:
    if not len(outcome):
        return "-"
    times, survival = kaplan_meier(outcome)
    below = np.flatnonzero(survival <= 0.5)
    return f"{times[below[0]]:.1f}" if below.size else "not reached"


def _quartiles(known: FloatArray) -> str:
    if not known.size:
        return "-"
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def _share(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.1f} %)" if of else "-"


def _value_label(field: Field, value: float) -> str:
    if field.type == "flag":
        return f"{field.label}: {'yes' if value else 'no'}"
    return field.categories[int(value)].label
