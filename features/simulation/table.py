"""A cohort as a typed table: quick to build and to validate, even for a million patients."""

import numpy as np
import pandas as pd

from features.cohort import PATIENT, Cohort
from features.dictionary import Field, FloatArray


def typed_table(cohort: Cohort) -> pd.DataFrame:
    """Return what ``Cohort.to_frame`` returns, as typed columns in place of Python objects.

    Categories are pandas categories, flags nullable booleans, numbers float64.
    """
    columns = {PATIENT: pd.Series(np.array(cohort.patients, dtype=object))}
    columns |= {f.name: _column(f, cohort.values[f.name]) for f in cohort.dictionary.fields}
    return pd.DataFrame(columns, copy=False)


def _column(declared: Field, numbers: FloatArray) -> pd.Series:
    missing = np.isnan(numbers)
    if declared.type == "category":
        codes = np.where(missing, -1, numbers).astype(np.int16)
        return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(declared.category_names)))
    if declared.type == "flag":
        return pd.Series(pd.arrays.BooleanArray(numbers == 1.0, missing))
    return pd.Series(numbers, copy=False)
