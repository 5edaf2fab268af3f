"""cBioPortal study folders: clinical files as one table, one row a patient, and timelines.

The format is that of cBioPortal's File-Formats page: four lines that start with ``#`` (names, descriptions,
datatypes, priorities), the attribute ids, then the rows. Missing values are those of cBioPortal's validator.
Rows are counted from 1 below the attribute ids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.door import SourceTables
from features.sources.recipe import Recipe
from features.sources.table import MISSING_FILE, header_problems

STUDY = "meta_study.txt"
PATIENT_ID, SAMPLE_ID = "PATIENT_ID", "SAMPLE_ID"
MISSING = frozenset(
    {"", "na", "[not available]", "[not applicable]", "[pending]", "[discrepancy]", "[completed]", "[null]"}
)
DATATYPES = ("STRING", "NUMBER", "BOOLEAN")
FLAGS = {"true": True, "false": False}
HEAD_LINES = 4


class StudyDoor:
    """A cBioPortal study: its patients, or the timeline named after ``#``."""

    name = "cBioPortal study"
    inputs = "a cBioPortal study's folder (FOLDER, FOLDER#TIMELINE)"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Return whether the folder holds ``meta_study.txt``, as every study does."""
        return (Path(source.partition("#")[0]) / STUDY).is_file()

    def read(self, recipe: Recipe, source: str) -> SourceTables:
        """Return the patients, one row each, or the rows of one timeline.

        Raises:
            InvalidCohort: when the study has no such timeline, and naming everything malformed in its files.

        """
        folder, _, timeline = source.partition("#")
        if not timeline:
            return SourceTables(recipe, read_cbioportal(folder))
        timelines = read_cbioportal_timelines(folder)
        if timeline not in timelines:
            remedy = "use one of " + ", ".join(timelines) if timelines else "the study has no timeline files"
            raise InvalidCohort(folder, [Problem(timeline, "is no timeline of the study", remedy)])
        return SourceTables(recipe, timelines[timeline])


def read_cbioportal(folder: Path | str) -> pd.DataFrame:
    """Return a study's patients: patient attributes, and the sample attributes of each one's first sample.

    Attributes are named by their ids, NUMBER attributes are numbers, BOOLEAN ones flags. A patient known
    only from a sample has no patient attributes; one without a sample has no sample attributes.

    Raises:
        InvalidCohort: naming every file that is missing or malformed, and every value of the wrong datatype.

    """
    files = _study_files(Path(folder))
    patients = _read(files.patients, needed=(PATIENT_ID,), unique=PATIENT_ID, head=True)
    samples = _read(files.samples, needed=(PATIENT_ID, SAMPLE_ID), unique=SAMPLE_ID, head=True)
    both = sorted(set(patients.values) & set(samples.values) - {PATIENT_ID})
    remedy = "keep it in the patient file or in the sample file"
    problems = [Problem(name, "stands in both clinical files", remedy) for name in both]
    if problems := [*patients.problems, *samples.problems, *problems]:
        raise InvalidCohort(str(folder), problems)
    first = pd.DataFrame(samples.values).drop_duplicates(PATIENT_ID)
    known = pd.DataFrame(patients.values)
    only_sampled = first.loc[~first[PATIENT_ID].isin(known[PATIENT_ID]), [PATIENT_ID]]
    everyone = pd.concat([known, only_sampled], ignore_index=True) if len(only_sampled) else known
    return everyone.merge(first, on=PATIENT_ID, how="left")


def read_cbioportal_timelines(folder: Path | str) -> dict[str, pd.DataFrame]:
    """Return a study's timelines by name: ``data_timeline_treatment.txt`` is ``treatment``.

    Times are days from diagnosis. cBioPortal does not check these files: only START_DATE and STOP_DATE are
    read as numbers here, every other column is text.

    Raises:
        InvalidCohort: naming every malformed file and every date that is no number of days.

    """
    files = _study_files(Path(folder))
    read = {
        _timeline_name(path): _read(path, needed=(PATIENT_ID, "START_DATE"), unique=None, head=False)
        for path in files.timelines
    }
    if problems := [problem for table in read.values() for problem in table.problems]:
        raise InvalidCohort(str(folder), problems)
    return {name: pd.DataFrame(table.values) for name, table in read.items()}


@dataclass(frozen=True)
class _StudyFiles:
    patients: Path
    samples: Path
    timelines: tuple[Path, ...]


@dataclass
class _ClinicalFile:
    """One clinical or timeline file: its columns and its problems."""

    path: Path
    values: dict[str, "pd.Series[Any]"] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def blame(self, where: str, problem: str, remedy: str, rows: list[int] | None = None) -> None:
        named = f"{self.path.name}: {where}" if where else self.path.name
        whole = Problem(named, problem, remedy)
        self.problems.append(whole if rows is None else Problem.in_rows(named, problem, remedy, rows))


def _study_files(folder: Path) -> _StudyFiles:
    """Return the data files that the meta files name, else those of the standard names."""
    if not (folder / STUDY).is_file():
        remedy = "give a study's folder"
        raise InvalidCohort(str(folder), [Problem(STUDY, "is not in the folder", remedy)])
    metas = [_meta(path) for path in sorted(folder.glob("meta_*.txt"))]
    named: dict[str, list[Path]] = {}
    for meta in metas:
        if meta.get("genetic_alteration_type") == "CLINICAL" and "data_filename" in meta:
            named.setdefault(meta.get("datatype", ""), []).append(folder / meta["data_filename"])
    usual = sorted(folder.glob("data_timeline_*.txt"))
    return _StudyFiles(
        next(iter(named.get("PATIENT_ATTRIBUTES", ())), folder / "data_clinical_patient.txt"),
        next(iter(named.get("SAMPLE_ATTRIBUTES", ())), folder / "data_clinical_sample.txt"),
        tuple(dict.fromkeys([*named.get("TIMELINE", ()), *usual])),
    )


def _meta(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _timeline_name(path: Path) -> str:
    return path.stem.removeprefix("data_").removeprefix("timeline_")


def _read(path: Path, *, needed: tuple[str, ...], unique: str | None, head: bool) -> _ClinicalFile:
    """Read one file; with ``head`` it starts with the four lines that describe its attributes."""
    table = _ClinicalFile(path)
    lines = _lines(table)
    described = [line for line in lines[:HEAD_LINES] if line.startswith("#")] if head else []
    if head and lines and len(described) < HEAD_LINES:
        remedy = "start with four lines of #: names, descriptions, datatypes, priorities"
        table.blame("", "does not describe its attributes", remedy)
    if table.problems:
        return table
    header, *rows = [line.split("\t") for line in lines[len(described) :]] or [[]]
    datatypes = described[2].removeprefix("#").split("\t") if head else _timeline_datatypes(header)
    _check_header(table, header, datatypes, needed)
    rows = rows if head else [row + [""] * (len(header) - len(row)) for row in rows]
    if ragged := [at for at, row in enumerate(rows, start=1) if len(row) != len(header)]:
        table.blame("", "has rows of another width than its header", "give every row the same tabs", ragged)
    if not table.problems:
        for name, datatype, cells in zip(header, datatypes, _columns(header, rows), strict=True):
            table.values[name] = _column(table, name, datatype.strip(), cells)
        _check_identifiers(table, needed if head else needed[:1], unique)
    return table


def _lines(table: _ClinicalFile) -> list[str]:
    try:
        text = table.path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "add it to the study, or correct data_filename in its meta file"
        table.blame("", MISSING_FILE.problem, remedy)
        return []
    except (UnicodeDecodeError, OSError):
        table.blame("", "cannot be read", "save it as UTF-8 text")
        return []
    if not text.strip():
        table.blame("", "is empty", "add its rows")
    return text.rstrip("\r\n").replace("\r\n", "\n").split("\n")


def _timeline_datatypes(header: list[str]) -> list[str]:
    return ["NUMBER" if name in ("START_DATE", "STOP_DATE") else "STRING" for name in header]


def _check_header(
    table: _ClinicalFile, header: list[str], datatypes: list[str], needed: tuple[str, ...]
) -> None:
    for problem in header_problems(header):
        table.blame(problem.field, problem.problem, problem.remedy)
    for name in needed:
        if name not in header:
            table.blame(name, "column is missing", "add the column")
    if len(datatypes) != len(header):
        table.blame("", "does not give every attribute a datatype", "complete the third line of #")
        return
    for name, datatype in zip(header, datatypes, strict=True):
        if datatype.strip() not in DATATYPES:
            table.blame(name, "has an unknown datatype", "use one of " + ", ".join(DATATYPES))


def _columns(header: list[str], rows: list[list[str]]) -> list[list[str | None]]:
    """Return each column's cells, None where missing."""
    clean = [[None if cell.strip().lower() in MISSING else cell.strip() for cell in row] for row in rows]
    return [list(column) for column in zip(*clean, strict=True)] if clean else [[] for _ in header]


def _column(table: _ClinicalFile, name: str, datatype: str, cells: list[str | None]) -> "pd.Series[Any]":
    if datatype == "STRING":
        return pd.Series(cells, dtype=object)
    read: Callable[[str], object] = _number if datatype == "NUMBER" else _flag
    values = [None if cell is None else read(cell) for cell in cells]
    wrong = [
        at
        for at, (cell, value) in enumerate(zip(cells, values, strict=True), start=1)
        if cell is not None and value is None
    ]
    if wrong:
        remedy = "correct the value, leave it empty, or declare the attribute STRING"
        table.blame(name, f"is not a {datatype}", remedy, wrong)
    if datatype == "BOOLEAN":
        return pd.Series(values, dtype=object)
    return pd.Series([np.nan if value is None else value for value in values], dtype=float)


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _flag(cell: str) -> bool | None:
    return FLAGS.get(cell.lower())


def _check_identifiers(table: _ClinicalFile, identifiers: tuple[str, ...], unique: str | None) -> None:
    for name in identifiers:
        if blank := (np.flatnonzero(table.values[name].isna()) + 1).tolist():
            table.blame(name, "is missing", "give every row an identifier", blank)
    if unique is None:
        return
    ids = table.values[unique]
    if again := (np.flatnonzero(ids.duplicated(keep=False) & ids.notna()) + 1).tolist():
        table.blame(unique, "stands in several rows", "keep one row of each", again)
