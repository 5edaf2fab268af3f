"""Validating a Parquet file of any size, part by part."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.cohort import PATIENT, Cohort
from features.dictionary import Dictionary
from features.errors import EXAMPLES, InvalidCohort, Problem
from features.sources.table import MISSING_FILE, first_line, header_problems

BATCH = 65_536


@dataclass(frozen=True)
class CheckedFile:
    """The result of validating a file: its number of rows, and every problem with row numbers of the file."""

    rows: int
    problems: tuple[Problem, ...]

    def require_valid(self, subject: str) -> None:
        """Refuse a file that has problems.

        Raises:
            InvalidCohort: naming every problem.

        """
        if self.problems:
            raise InvalidCohort(subject, self.problems)


def check_parquet(path: Path | str, *, dictionary: Dictionary) -> CheckedFile:
    """Validate a Parquet file of any size in constant memory.

    Batches of ``BATCH`` rows are validated as cohorts, and their problems merged: row counts are summed, and
    examples are the first rows of the file. Patients who stand in several batches are detected by 128-bit
    digests in temporary files, 24 bytes a row.

    Raises:
        InvalidCohort: when the file is absent or is not Parquet.

    """
    file = _open_parquet(Path(path))
    names = file.schema_arrow.names
    if problems := header_problems(names):
        return CheckedFile(file.metadata.num_rows, tuple(problems))
    used = [name for name in names if name == PATIENT or name in dictionary.names]
    merged = _MergedProblems()
    with tempfile.TemporaryDirectory() as folder:
        seen = _RepeatedPatients(Path(folder), parts=min(256, 1 + file.metadata.num_rows // 1_000_000))
        for first_row, batch in _batches(file, used):
            frame = batch.to_pandas()
            if PATIENT in used:
                present = frame[PATIENT].notna().to_numpy()
                seen.add(batch.column(PATIENT), present, first_row)
                # Row numbers stand in for the patients, who are compared over the whole file below.
                numbered = np.where(present, np.arange(len(frame)), None)  # type: ignore[call-overload]
                frame = frame.assign(**{PATIENT: numbered})
            merged.add(_judge(frame, dictionary), first_row)
        merged.add(seen.problems(), 0)
    return CheckedFile(file.metadata.num_rows, merged.problems)


def _open_parquet(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise InvalidCohort(str(path), [MISSING_FILE])
    try:
        # A read buffer keeps even one huge row group from being loaded whole.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidCohort(str(path), [Problem("file", "is not Parquet", first_line(error))]) from error


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches with the number of rows before each; one empty batch for an empty file."""
    if file.metadata.num_rows == 0:
        yield 0, pa.RecordBatch.from_pandas(file.read(columns=columns).to_pandas(), preserve_index=False)
    first_row = 0
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(batch_size=BATCH, row_groups=[group], columns=columns):
            yield first_row, batch
            first_row += batch.num_rows


def _judge(frame: pd.DataFrame, dictionary: Dictionary) -> tuple[Problem, ...]:
    try:
        Cohort.from_frame(frame, dictionary=dictionary, units_stated=True)
    except InvalidCohort as error:
        return error.problems
    return ()


@dataclass
class _MergedProblems:
    """Problems of a file's batches, merged under the row numbers of the file."""

    by_fault: dict[tuple[str, str, str], Problem] = field(default_factory=dict)

    def add(self, problems: tuple[Problem, ...], first_row: int) -> None:
        for problem in problems:
            key = (problem.field, problem.problem, problem.remedy)
            moved = replace(problem, examples=tuple(row + first_row for row in problem.examples))
            earlier = self.by_fault.get(key)
            if earlier is not None and earlier.rows is not None and moved.rows is not None:
                examples = (*earlier.examples, *moved.examples)[:EXAMPLES]
                moved = replace(moved, rows=earlier.rows + moved.rows, examples=examples)
            self.by_fault[key] = moved

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self.by_fault.values())


_DIGEST = np.dtype([("high", "u8"), ("low", "u8"), ("row", "u8")])
_KEYS = ("salvage.patient1", "salvage.patient2")


@dataclass(frozen=True)
class _RepeatedPatients:
    """Detects patients who stand in several rows, with one part of their digests in memory at a time."""

    folder: Path
    parts: int

    def add(self, patients: pa.Array, present: npt.NDArray[np.bool_], first_row: int) -> None:
        names = np.asarray(patients.cast(pa.string()).to_numpy(zero_copy_only=False)[present], dtype=object)
        digests = np.empty(len(names), dtype=_DIGEST)
        digests["high"], digests["low"] = (pd.util.hash_array(names, hash_key=key) for key in _KEYS)
        digests["row"] = first_row + 1 + np.flatnonzero(present)
        part_of = digests["high"] % np.uint64(self.parts)
        for part in np.unique(part_of).tolist():
            with (self.folder / str(part)).open("ab") as file:
                file.write(digests[part_of == part].tobytes())

    def problems(self) -> tuple[Problem, ...]:
        count, first = 0, np.array([], dtype=np.uint64)
        for path in self.folder.iterdir():
            rows = _repeated(np.fromfile(path, dtype=_DIGEST))
            count += len(rows)
            first = np.sort(np.concatenate([first, rows]))[:EXAMPLES]
        if not count:
            return ()
        remedy = "keep one row a patient"
        return (Problem(PATIENT, "stands in several rows", remedy, count, tuple(first.tolist())),)


def _repeated(digests: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    ordered = digests[np.lexsort((digests["low"], digests["high"]))]
    high, low = ordered["high"], ordered["low"]
    same = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    repeated = np.append(same, False) | np.append(False, same)
    rows: npt.NDArray[np.uint64] = ordered["row"][repeated]
    return rows
