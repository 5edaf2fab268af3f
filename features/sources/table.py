"""Tables from files: CSV, TSV, Parquet and Excel, with every value as it is stored.

A fault that would shift, drop or convert a value unnoticed is refused: repeated or nameless columns, rows
wider than the header, and what :mod:`features.sources.excel` lists. Rows are counted from 1 below the header.
"""

import csv
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.errors import InvalidCohort, Problem
from features.sources.door import SourceTables
from features.sources.excel import read_excel
from features.sources.recipe import Recipe

SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")
GAPS = ("", "NA")
MISSING_FILE = Problem("file", "does not exist", "check the path")


class FileDoor:
    """A file with the patients' table, or a folder that holds it, with the related files beside it."""

    name = "file"
    inputs = f"a file ({', '.join(SUFFIXES)}; BOOK.xlsx#SHEET), or a folder with the recipe's files"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Return whether the suffix is one of ``SUFFIXES``, or the path a folder."""
        return _file_and_sheet(source)[0].suffix.lower() in SUFFIXES or Path(source).is_dir()

    def read(self, recipe: Recipe, source: str) -> SourceTables:
        """Return the patients' table and every related file's.

        Raises:
            InvalidCohort: when a file is absent or would be misread, or the recipe names none in a folder.

        """
        folder = Path(source)
        if not folder.is_dir():
            folder = _file_and_sheet(source)[0].parent
        elif recipe.file is None:
            problem = Problem("file", "is a folder, and the recipe names no file in it", "give one file")
            raise InvalidCohort(source, [problem])
        else:
            source = str(folder / recipe.file)
        patients = read_table(source)
        beside = {related.file: read_table(folder / related.file) for related in recipe.related.values()}
        return SourceTables(recipe, patients, {name: beside[r.file] for name, r in recipe.related.items()})


def read_table(path: Path | str) -> pd.DataFrame:
    """Return a file's table; ``book.xlsx#Sheet`` names one sheet, without it the first is read.

    Raises:
        InvalidCohort: when the file is absent, of another kind, cannot be read, or would be misread.

    """
    file, sheet = _file_and_sheet(str(path))
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        remedy = "give one of " + ", ".join(SUFFIXES)
        raise InvalidCohort(str(path), [Problem("file", "is of an unknown kind", remedy)])
    if not file.is_file():
        raise InvalidCohort(str(path), [MISSING_FILE])
    if suffix == ".xlsx":
        return read_excel(file, sheet=sheet)
    try:
        if suffix == ".parquet":
            return pd.read_parquet(file)
        return _read_delimited(file, separator="\t" if suffix == ".tsv" else ",")
    except (ValueError, OSError, pa.ArrowInvalid, pd.errors.ParserError) as error:
        raise InvalidCohort(str(path), [Problem("file", "cannot be read", first_line(error))]) from error


def _file_and_sheet(source: str) -> tuple[Path, str | None]:
    """Return the path, and the sheet that ``book.xlsx#Sheet`` names in it."""
    name, _, sheet = source.partition(".xlsx#")
    return (Path(f"{name}.xlsx"), sheet) if sheet else (Path(source), None)


def _read_delimited(file: Path, *, separator: str) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=separator)
        header, first = next(rows, []), next(rows, [])
    problems = header_problems(header)
    if len(first) > len(header) > 0:  # pandas would take the first column for row labels
        remedy = "give every row as many fields as the header"
        problems.append(Problem("header", "has fewer fields than the rows", remedy))
    if problems:
        raise InvalidCohort(str(file), problems)
    # every cell as text, so that 007 stays 007 and one word does not change a column of numbers
    return pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, na_values=list(GAPS))


def header_problems(header: list[str]) -> list[Problem]:
    """Return a problem for each column without a name, and for each name of several columns.

    >>> [problem.field for problem in header_problems(["age", "", "age"])]
    ['column 2', 'age']
    """
    problems = [
        Problem(f"column {position}", "has no name", "name it in the header, or remove it")
        for position, name in enumerate(header, start=1)
        if not name.strip()
    ]
    again = dict.fromkeys(name for name in header if name.strip() and header.count(name) > 1)
    return problems + [
        Problem(name, "names several columns", "give every column its own name") for name in again
    ]


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
