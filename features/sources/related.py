"""Related tables: each patient's records, such as treatments, in a window around the index date."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Field, FloatArray
from features.errors import Problem
from features.sources.codes import ROW, Rows, numeric, rows_problem
from features.sources.conditions import judge_all
from features.sources.forms import RelatedTable

OWNER = "__owner__"


@dataclass(frozen=True)
class RelatedRecords:
    """Records in their window; column ``__owner__`` holds the source row of their patient."""

    table: pd.DataFrame


@dataclass(frozen=True)
class AgreedValues:
    """By patient, shape (rows,): the value that the records share, and whether any record has a value."""

    numbers: FloatArray
    recorded: Rows
    problems: tuple[Problem, ...] = ()


def in_window(
    name: str,
    related: RelatedTable,
    records: pd.DataFrame,
    *,
    rows: pd.DataFrame,
    patient: str,
    everyone: pd.Series,
) -> tuple[RelatedRecords, list[Problem]]:
    """Return the records of the patients in ``rows`` that start in the window, and problems.

    ``everyone`` holds all patients of the source, the excluded ones too: a record of none of them is
    unmatched. Unmatched and undated records are problems, unless the recipe leaves them out.
    """
    problems = _unmatched(name, related, records, everyone)
    owners = pd.Series(np.arange(len(rows)), index=rows[patient].to_numpy())
    place = records[related.key].map(owners).to_numpy(dtype=float, na_value=np.nan)
    mine = records[~np.isnan(place)]
    place = place[~np.isnan(place)].astype(np.int64)
    index, wrong = numeric(rows[related.index], rows)
    start, wrong_starts = numeric(mine[related.start], mine)
    verdict = judge_all(related.where, mine)
    problems += [*wrong, *wrong_starts, *verdict.problems]
    since = start - index[place]
    undated = np.flatnonzero(np.isnan(since) & verdict.holds)
    if undated.size and "undated" not in related.left_out:
        remedy = "date the records, or say left_out: [undated]"
        problems.append(rows_problem(f"{name}.{related.start}", "is missing", remedy, mine, undated))
    low = -np.inf if related.first is None else related.first
    high = np.inf if related.last is None else related.last
    within = (since >= low) & (since <= high) & verdict.holds
    owner = rows[ROW].to_numpy()[place]
    return RelatedRecords(mine.assign(**{OWNER: owner})[within]), problems


def _unmatched(name: str, related: RelatedTable, records: pd.DataFrame, everyone: pd.Series) -> list[Problem]:
    unmatched = np.flatnonzero(~records[related.key].isin(everyone))
    if len(records) and len(unmatched) == len(records):
        return [Problem(f"{name}.{related.key}", "matches no patient", "correct the key", len(records))]
    if unmatched.size and "unmatched" not in related.left_out:
        remedy = "add the patients, or say left_out: [unmatched]"
        return [rows_problem(f"{name}.{related.key}", "is no patient", remedy, records, unmatched)]
    return []


def gather(
    field: Field,
    numbers: FloatArray,
    records: pd.DataFrame,
    table: pd.DataFrame,
    *,
    several: float | None,
    decided: bool,
) -> AgreedValues:
    """Summarise records by patient: a flag is true if any record is, other fields take the shared value.

    Where records differ, the value is ``several`` (None: missing) if ``decided``, and else a problem. Records
    without a value are ignored.
    """
    with_value = ~np.isnan(numbers)
    by_owner = pd.Series(numbers[with_value]).groupby(records[OWNER].to_numpy()[with_value])
    owners = table[ROW].to_numpy()
    highest = _floats(by_owner.max().reindex(owners))
    recorded = ~np.isnan(highest)
    if field.type == "flag":
        return AgreedValues(highest, recorded)
    differs = recorded & (_floats(by_owner.min().reindex(owners)) != highest)
    if decided:
        return AgreedValues(np.where(differs, np.nan if several is None else several, highest), recorded)
    problems = []
    if differs.any():
        remedy = "say several: VALUE in the recipe"
        fault = "has several values in one patient's records"
        problems.append(rows_problem(field.name, fault, remedy, table, np.flatnonzero(differs)))
    return AgreedValues(highest, recorded, tuple(problems))


def _floats(series: pd.Series) -> FloatArray:
    return np.asarray(series, dtype=np.float64)
