"""Mapping a table's columns to dictionary fields; problems carry the row numbers of the source."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Field, FloatArray
from features.errors import Problem
from features.sources.codes import (
    ROW,
    UNKNOWN_CODE,
    Rows,
    as_numbers,
    codes_remedy,
    decode,
    numeric,
    rows_problem,
)
from features.sources.conditions import judge_all
from features.sources.forms import (
    Cases,
    CodedColumn,
    Constant,
    FieldMapping,
    FirstOf,
    Form,
    Joined,
    PlainColumn,
    Sum,
    factor,
    form_columns,
)
from features.sources.related import OWNER, RelatedRecords, gather
from features.units import asked, rows_in_question

DISEASE = "__disease__"
UNKNOWN_COMBINATION = "combination is not in the recipe"


@dataclass(frozen=True)
class MappedField:
    """One field's numbers, shape (rows,), as :meth:`Field.read` encodes them, and its refused values."""

    numbers: FloatArray
    problems: tuple[Problem, ...] = ()


def read_field(
    field: Field, mapped: FieldMapping, table: pd.DataFrame, related: Mapping[str, RelatedRecords]
) -> MappedField:
    """Return a field's values, missing in the rows to which its conditions or diseases do not extend.

    The values of those rows are not checked, so that a code used in one disease only is no problem in the
    others. ``table`` has the column of source row numbers and, where ``diseases`` is used, of disease names.
    """
    if not mapped.where and not mapped.diseases:
        return _read(field, mapped.form, table, related)
    verdict = judge_all(mapped.where, table)
    concerned = verdict.holds
    if mapped.diseases:
        concerned = concerned & table[DISEASE].isin(mapped.diseases).to_numpy(dtype=bool)
    part = _read(field, mapped.form, table[concerned], related)
    numbers = np.full(len(table), np.nan)
    numbers[concerned] = part.numbers
    return MappedField(numbers, (*verdict.problems, *part.problems))


def _read(
    field: Field, form: Form, table: pd.DataFrame, related: Mapping[str, RelatedRecords]
) -> MappedField:
    if isinstance(form, Constant):
        return MappedField(np.full(len(table), _number(field, form.value)))
    if isinstance(form, PlainColumn):
        return _plain(field, form, table)
    if isinstance(form, CodedColumn):
        return _coded(field, form, table)
    if isinstance(form, Sum):
        return _sum(field, form, table)
    if isinstance(form, Cases):
        return _cases(field, form, table)
    if isinstance(form, FirstOf):
        return _first(field, form, table, related)
    return _joined(field, form, table, related[form.related])


def _number(field: Field, value: object) -> float:
    return float(field.read([value]).numbers[0])


def _plain(field: Field, form: PlainColumn, table: pd.DataFrame) -> MappedField:
    series = table[form.column]
    if field.type in ("number", "integer"):
        series = as_numbers(series)
    return _judged(field, series, table, columns=form.column, units=frozenset({None}))


def _judged(
    field: Field, series: pd.Series, table: pd.DataFrame, *, columns: str, units: frozenset[str | None]
) -> MappedField:
    """Return a field's numbers; a value against its rule, or that fits another unit, is a problem.

    ``units`` are those that the recipe declares for the columns, None among them where it declares none.
    """
    own = next(iter(units)) if len(units) == 1 else None
    by, stated = 1.0 if own is None else factor(field, own), None not in units
    read = field.read_series(series)
    column, asked_about = rows_in_question(field, series, read, stated=stated, factor=by)
    problems = [
        rows_problem(field.name, fault, f"expected {field.expected}", table, list(at))
        for fault, at in column.faults.items()
    ]
    for unit, at in asked_about.items():
        problem = f"{asked(field, unit, own=own)[:-1]} as {field.name}?"
        problems.append(rows_problem(columns, problem, _declare(field, unit, stated), table, list(at)))
    return MappedField(column.numbers, tuple(problems))


def _declare(field: Field, unit: str, stated: bool) -> str:
    if stated:
        return f"declare unit: {unit} in the recipe in its place, or correct the values"
    return f"declare it in the recipe as unit: {unit}, or as unit: {field.unit} if the values are right"


def _coded(field: Field, form: CodedColumn, table: pd.DataFrame) -> MappedField:
    numbers, unknown = decode(form, table[form.column], field)
    if not unknown.any():
        return MappedField(numbers)
    remedy = codes_remedy((*form.codes, *(pattern for pattern, _ in form.patterns)))
    problem = rows_problem(form.column, UNKNOWN_CODE, remedy, table, np.flatnonzero(unknown))
    return MappedField(numbers, (problem,))


def _sum(field: Field, form: Sum, table: pd.DataFrame) -> MappedField:
    total = np.zeros(len(table))
    problems: list[Problem] = []
    for term in form.terms:
        numbers, wrong = numeric(table[term.column], table)
        problems += wrong
        by = 1.0 if term.unit is None else factor(field, term.unit)
        total = total + term.sign * by * numbers
    columns = " + ".join(term.column for term in form.terms)
    units = frozenset(term.unit for term in form.terms)
    judged = _judged(field, pd.Series(total), table, columns=columns, units=units)
    return MappedField(judged.numbers, (*problems, *judged.problems))


def _cases(field: Field, form: Cases, table: pd.DataFrame) -> MappedField:
    numbers = np.full(len(table), np.nan)
    rest = np.ones(len(table), dtype=bool)
    empty: Rows = np.zeros(len(table), dtype=bool)
    problems: list[Problem] = []
    for case in form.cases:
        verdict = judge_all(case.when, table)
        numbers[rest & verdict.holds] = _number(field, case.value)
        rest, empty = rest & ~verdict.holds, empty | verdict.empty
        problems += verdict.problems
    rest &= ~empty
    if form.otherwise:
        numbers[rest] = _number(field, form.otherwise[0])
    elif rest.any():
        columns = " + ".join(dict.fromkeys(form_columns(form)))
        remedy = "add a case, or say otherwise"
        problems.append(rows_problem(columns, UNKNOWN_COMBINATION, remedy, table, np.flatnonzero(rest)))
    return MappedField(numbers, tuple(dict.fromkeys(problems)))


def _first(
    field: Field, form: FirstOf, table: pd.DataFrame, related: Mapping[str, RelatedRecords]
) -> MappedField:
    readings = [read_field(field, reading, table, related) for reading in form.readings]
    numbers = readings[0].numbers
    for later in readings[1:]:
        numbers = np.where(np.isnan(numbers), later.numbers, numbers)
    return MappedField(numbers, tuple(problem for reading in readings for problem in reading.problems))


def _joined(field: Field, form: Joined, table: pd.DataFrame, records: RelatedRecords) -> MappedField:
    """Summarise the values of related records by patient."""
    mine = records.table[records.table[OWNER].isin(table[ROW])]
    read = _read(field, form.form, mine, {})
    named = tuple(Problem(f"{form.related}.{p.field}", *_rest(p)) for p in read.problems)
    several = None if not form.several else _number(field, form.several[0])
    gathered = gather(field, read.numbers, mine, table, several=several, decided=bool(form.several))
    numbers = np.where(gathered.recorded, gathered.numbers, _number(field, form.without))
    return MappedField(numbers, (*named, *gathered.problems))


def _rest(problem: Problem) -> tuple[str, str, int | None, tuple[int, ...]]:
    return problem.problem, problem.remedy, problem.rows, problem.examples
