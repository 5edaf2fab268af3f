"""Tables from files: CSV and Parquet, exactly as they stand."""

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
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", low_memory=False)
    except (ValueError, pa.ArrowInvalid, pd.errors.ParserError) as error:
        raise InvalidCohort(
            str(path), [Problem("file", "cannot be read", str(error).splitlines()[0])]
        ) from error
