"""Excel workbooks: one sheet as a table, refused where Excel has changed numbers or dates."""

import datetime as dt
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from features.dictionary import load_dictionary
from features.errors import InvalidCohort, Problem

MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>"})
ERRORS = frozenset({"#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"})
NUMBER_AS_TEXT = re.compile(r"\s*[-+]?(0|[1-9]\d*)([.,]\d+)?([eE][-+]?\d+)?\s*")
DAY_NUMBERS = (10_000, 80_000)  # 1927 to 2119, as Excel counts days
DATE_WORDS, SPAN_WORDS = {"date", "datum", "dob"}, {"days", "weeks", "months", "years", "diff"}

Row = Sequence[Any]


def read_excel(path: Path, *, sheet: str | None = None) -> pd.DataFrame:
    """Return one sheet, whose first row is the header; the first sheet when none is named.

    Empty cells and those in ``MISSING`` are missing. Rows are counted from 1 below the header: row 1 is the
    sheet's row 2.

    Raises:
        InvalidCohort: when the workbook or sheet cannot be read, and naming every column that mixes dates
            with numbers, holds dates as day numbers, numbers stored as text, or Excel's own errors.

    """
    rows, unsaved = _read_rows(path, sheet)
    while rows and all(value is None for value in rows[-1]):
        rows.pop()
    if not rows:
        raise InvalidCohort(_subject(path, sheet), [Problem("sheet", "is empty", "name the sheet to read")])
    width = max(len(row) for row in rows)
    columns = [[row[at] if at < len(row) else None for row in rows] for at in range(width)]
    columns = [column for column in columns if any(value is not None for value in column)]
    header, problems = _header([column[0] for column in columns])
    values = dict(zip(header, (column[1:] for column in columns), strict=True))
    for name, cells in values.items():
        problems += _column_problems(name, cells)
    if unsaved:
        remedy = "open the workbook in Excel and save it, or paste the values"
        problems.append(
            Problem.in_rows("sheet", "holds formulas without a stored result", remedy, sorted(unsaved))
        )
    if problems:
        raise InvalidCohort(_subject(path, sheet), problems)
    return pd.DataFrame({name: _series(cells) for name, cells in values.items()})


def _read_rows(path: Path, sheet: str | None) -> tuple[list[Row], set[int]]:
    """Return the sheet's cells by row, and the rows with a formula whose result is not stored."""
    import openpyxl  # noqa: PLC0415  half a second, and only who reads Excel needs it

    def cells(*, values: bool) -> list[Row]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # openpyxl warns of styles it does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=values)
            try:
                worksheet = _sheet(path, book, sheet)
                worksheet.reset_dimensions()  # the size that some programs write is wrong
                return [tuple(map(_cell, row)) for row in worksheet.iter_rows(values_only=True)]
            finally:
                book.close()

    try:
        rows = cells(values=True)
        formulas = cells(values=False) if _has_formulas(path) else []
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        remedy = "save it as .xlsx without a password"
        raise InvalidCohort(str(path), [Problem("file", "is no Excel workbook", remedy)]) from error
    unsaved = {
        number
        for number, (row, written) in enumerate(zip(rows, formulas, strict=False))
        if any(v is None and w is not None for v, w in zip(row, written, strict=False))
    }
    return rows, unsaved


def _sheet(path: Path, book: Any, sheet: str | None) -> Any:
    names = [each.title for each in book.worksheets]
    if sheet is None:
        return book.worksheets[0]
    if sheet not in names:
        problem = Problem("sheet", f"{sheet} does not exist", "use one of " + ", ".join(names))
        raise InvalidCohort(str(path), [problem])
    return book[sheet]


def _has_formulas(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(b"<f>" in (text := archive.read(name)) or b"<f " in text for name in sheets)


def _cell(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip() in MISSING else value


def _header(cells: list[Any]) -> tuple[list[str], list[Problem]]:
    header = [f"column {at}" if cell is None else str(cell).strip() for at, cell in enumerate(cells, start=1)]
    problems = [
        Problem(name, "has no name", "name it in the first row, or remove it")
        for name, cell in zip(header, cells, strict=True)
        if cell is None
    ]
    again = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    remedy = "give every column its own name"
    if problems := problems + [Problem(name, "names several columns", remedy) for name in again]:
        header = [f"{name} ({at})" if name in again else name for at, name in enumerate(header, start=1)]
    return header, problems


def _is_date(value: Any) -> bool:
    return isinstance(value, dt.date | dt.time | dt.timedelta)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number_as_text(value: Any) -> bool:
    return isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value) is not None


def _rows_where(cells: Row, test: Callable[[Any], bool]) -> list[int]:
    return [row for row, value in enumerate(cells, start=1) if test(value)]


def _column_problems(name: str, cells: Row) -> list[Problem]:
    errors = _rows_where(cells, lambda value: isinstance(value, str) and value in ERRORS)
    numbers = _rows_where(cells, _is_number)
    texts = _rows_where(cells, _is_number_as_text)
    problems = _date_problems(name, cells, numbers)
    if errors:
        remedy = "mend the formula, or leave the cell empty where the value is missing"
        problems.append(Problem.in_rows(name, "holds an error of Excel", remedy, errors))
    if texts and (numbers or _declared_number(name)):
        remedy = "turn the column into numbers in Excel (Data, Text to Columns)"
        problems.append(Problem.in_rows(name, "holds numbers stored as text", remedy, texts))
    return problems


def _date_problems(name: str, cells: Row, numbers: list[int]) -> list[Problem]:
    dates = _rows_where(cells, _is_date)
    of_dates = not _declared_number(name) and (_named_as_date(name) or len(dates) > len(numbers))
    as_numbers = numbers if dates else _rows_where(cells, _is_day_number)
    if of_dates and as_numbers:
        remedy = "format the cells as dates in Excel, and check what they then show"
        return [Problem.in_rows(name, "holds dates as plain numbers", remedy, as_numbers)]
    if dates and not of_dates and (numbers or _declared_number(name)):
        remedy = "type the numbers again in cells formatted as numbers; Excel turned them into dates"
        return [Problem.in_rows(name, "holds dates among numbers", remedy, dates)]
    return []


def _is_day_number(value: Any) -> bool:
    return _is_number(value) and DAY_NUMBERS[0] <= value <= DAY_NUMBERS[1]


def _named_as_date(name: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return bool(words) and not SPAN_WORDS & set(words) and bool({words[0], words[-1]} & DATE_WORDS)


def _declared_number(name: str) -> bool:
    dictionary = load_dictionary()
    return name in dictionary and dictionary[name].type in ("number", "integer")


def _series(cells: Row) -> "pd.Series[Any]":
    """Return a column of numbers or timestamps where all its cells are; any other as objects."""
    present = [value for value in cells if value is not None]
    if present and all(map(_is_number, present)):
        return pd.Series(cells)
    if present and all(isinstance(value, dt.datetime) for value in present):
        return pd.Series(pd.to_datetime(pd.Series(cells)))
    return pd.Series(cells, dtype=object)


def _subject(path: Path, sheet: str | None) -> str:
    return f"{path}#{sheet}" if sheet else str(path)
