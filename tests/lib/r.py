"""R as an oracle: a script over a table, skipped, and saying so, where R or a package is absent."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

ABSENT = "R's package {} is not installed (Debian: r-cran-{})"


def run_r(script: str, table: pd.DataFrame, *packages: str) -> pd.DataFrame:
    """Return what the script leaves in ``out``, a data frame; it finds the table as ``d``."""
    for package in packages:
        if not installed(package):
            pytest.skip(ABSENT.format(package, package.lower()))
    with TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "in.csv", Path(scratch) / "out.csv"
        table.to_csv(given, index=False)
        loaded = "\n".join(f"suppressPackageStartupMessages(library({package}))" for package in packages)
        whole = "\n".join(
            (loaded, f"d <- read.csv('{given}')", script, f"write.csv(out, '{found}', row.names = FALSE)")
        )
        ran = subprocess.run(
            ["Rscript", "--vanilla", "-e", whole], capture_output=True, text=True, check=False, timeout=300
        )
        assert ran.returncode == 0, ran.stderr
        return pd.read_csv(found)


@cache
def installed(package: str) -> bool:
    """Tell whether R is there and has the package."""
    if shutil.which("Rscript") is None:
        return False
    asked = f"quit(status = !requireNamespace('{package}', quietly = TRUE))"
    ran = subprocess.run(["Rscript", "--vanilla", "-e", asked], capture_output=True, check=False, timeout=60)
    return ran.returncode == 0
