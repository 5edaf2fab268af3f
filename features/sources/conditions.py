"""Evaluating conditions row by row, with empty cells kept apart from conditions that do not hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import FloatArray
from features.errors import Problem
from features.sources.codes import Rows, member, numeric
from features.sources.forms import RowCondition

HOLDS: Mapping[str, Callable[[FloatArray, FloatArray], Rows]] = {
    "before": np.less,
    "not_after": np.less_equal,
    "after": np.greater,
    "not_before": np.greater_equal,
    "same_as": np.equal,
}


@dataclass(frozen=True)
class ConditionVerdict:
    """Where conditions hold, and where an empty cell prevents their evaluation, both of shape (rows,)."""

    holds: Rows
    empty: Rows
    problems: tuple[Problem, ...] = ()


def judge(condition: RowCondition, table: pd.DataFrame) -> ConditionVerdict:
    """Evaluate one condition in every row."""
    series = table[condition.column]
    empty = series.isna().to_numpy(dtype=bool)
    if condition.codes is not None:
        if None in condition.codes:
            empty = np.zeros(len(table), dtype=bool)
        return ConditionVerdict(member(series, condition.codes), empty)
    if condition.comparison == "known":
        return ConditionVerdict(empty != bool(condition.other), np.zeros(len(table), dtype=bool))
    left, problems = numeric(series, table)
    if isinstance(condition.other, str):
        right, more = numeric(table[condition.other], table)
    else:
        right, more = np.full(len(table), float(str(condition.other))), []
    holds = HOLDS[str(condition.comparison)](left, right)
    return ConditionVerdict(holds, np.isnan(left) | np.isnan(right), (*problems, *more))


def judge_all(conditions: tuple[RowCondition, ...], table: pd.DataFrame) -> ConditionVerdict:
    """Evaluate conditions that must all hold; ``empty`` marks a row where any of them meets an empty cell."""
    verdicts = [judge(condition, table) for condition in conditions]
    nothing = np.zeros(len(table), dtype=bool)
    return ConditionVerdict(
        np.logical_and.reduce([~nothing, *(v.holds for v in verdicts)]),
        np.logical_or.reduce([nothing, *(v.empty for v in verdicts)]),
        tuple(problem for verdict in verdicts for problem in verdict.problems),
    )
