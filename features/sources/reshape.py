"""Reshaping several rows a patient to one, refused where a row would be lost or two would conflict."""

import numpy as np
import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.codes import UNKNOWN_CODE, codes_remedy, meaning, member, rows_problem
from features.sources.forms import Reshape


def side_by_side(
    shape: Reshape, table: pd.DataFrame, *, patient: str, used: tuple[str, ...], subject: str
) -> pd.DataFrame:
    """Return one row a patient; the other columns in ``used`` must agree over a patient's rows.

    Raises:
        InvalidCohort: naming unknown codes, a patient's code standing twice, and rows that disagree.

    """
    problems = _problems(shape, table, patient, used)
    if problems:
        raise InvalidCohort(subject, problems)
    wide = table.drop_duplicates(patient).drop(columns=[shape.by, *shape.columns])
    for code, name in shape.codes.items():
        part = table.loc[member(table[shape.by], [code]), [patient, *shape.columns]]
        named = part.rename(columns={c: f"{name}_{c}" for c in shape.columns})
        wide = wide.merge(named, on=patient, how="left")
    return wide


def _problems(shape: Reshape, table: pd.DataFrame, patient: str, used: tuple[str, ...]) -> list[Problem]:
    remedy = "rename the column, or the code in the recipe"
    clash = [name for name in shape.made if name in table.columns]
    problems = [Problem(name, "stands already, and reshaping would make it", remedy) for name in clash]
    unknown = np.flatnonzero(~member(table[shape.by], list(shape.codes)))
    if unknown.size:
        problems.append(rows_problem(shape.by, UNKNOWN_CODE, codes_remedy(shape.codes), table, unknown))
    coded = table[shape.by].map(lambda value: meaning(value, dict(shape.codes)))
    repeated = np.flatnonzero(pd.DataFrame({0: table[patient], 1: coded}).duplicated(keep=False))
    if repeated.size:
        fault = "stands twice with the same " + shape.by
        problems.append(rows_problem(patient, fault, "keep one row of each", table, repeated))
    for column in used:
        if column in table.columns and column not in (patient, shape.by, *shape.columns):
            problems += _disagreement(table, patient, column)
    return problems


def _disagreement(table: pd.DataFrame, patient: str, column: str) -> list[Problem]:
    first = table.groupby(patient)[column].transform("first")
    differs = np.flatnonzero(table[column].notna() & (table[column] != first) & table[patient].notna())
    if not differs.size:
        return []
    remedy = "make a patient's rows agree, or list the column under reshape"
    return [rows_problem(column, "differs between a patient's rows", remedy, table, differs)]
