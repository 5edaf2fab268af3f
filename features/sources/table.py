"""Tables from files: CSV and Parquet, exactly as they stand."""

import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.errors import InvalidCohort, Problem

SUFFIXES = (".csv", ".tsv", ".parquet")


def read_table(path: Path) -> pd.DataFrame:
    """Return a file's table.

    Raises:
        InvalidCohort: when the file is absent, of another kind, or cannot be read.

    """
    if path.suffix not in SUFFIXES:
        raise InvalidCohort(
            str(path), [Problem("file", "is of an unknown kind", "give one of " + ", ".join(SUFFIXES))]
        )
    if not path.is_file():
        raise InvalidCohort(str(path), [Problem("file", "does not exist", "check the path")])
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return _read_text(path, "\t" if path.suffix == ".tsv" else ",")
    except (ValueError, pa.ArrowInvalid, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise InvalidCohort(
            str(path), [Problem("file", "cannot be read", str(error).splitlines()[0])]
        ) from error


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """Read every cell as text, so that 007 stays 007; an empty cell is missing."""
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].tolist()
    if repeated := {name for name in header if header.count(name) > 1}:
        raise InvalidCohort(
            str(path), [Problem(str(name), "is a column twice", "keep one") for name in repeated]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        return pd.read_csv(
            path, sep=separator, dtype=str, index_col=False, keep_default_na=False, na_values=[""]
        )
