"""Applying a recipe's inclusion criteria, with every excluded row counted under its reason."""

import numpy as np
import pandas as pd

from features.eligibility import Attrition
from features.errors import InvalidCohort, Problem
from features.sources.codes import UNKNOWN_CODE, codes_remedy, member, rows_problem
from features.sources.conditions import judge
from features.sources.forms import DuplicateRule, InclusionRule


def include(
    rules: tuple[InclusionRule, ...], duplicates: DuplicateRule | None, rows: pd.DataFrame, *, subject: str
) -> tuple[pd.DataFrame, Attrition]:
    """Return the rows that meet every criterion and are no duplicates, and their attrition.

    Raises:
        InvalidCohort: naming codes that a criterion lacks, and rows with an empty cell in a comparison.

    """
    problems = _code_problems(rules, rows)
    attrition = Attrition(len(rows))
    for rule in rules:
        verdict = judge(rule.condition, rows)
        problems += verdict.problems
        kept = verdict.holds
        if rule.condition.codes is None and verdict.empty.any():
            if rule.missing is None:
                remedy = "complete it, or say missing: REASON in the rule"
                columns = " + ".join(rule.condition.columns)
                at = np.flatnonzero(verdict.empty)
                problems.append(rows_problem(columns, "is missing and cannot be compared", remedy, rows, at))
            else:
                attrition = attrition.then(rule.missing, int(verdict.empty.sum()))
            kept = kept & ~verdict.empty
            attrition = attrition.then(rule.reason, int((~kept & ~verdict.empty).sum()))
        else:
            attrition = attrition.then(rule.reason, int((~kept).sum()))
        rows = rows[kept]
    if problems:
        raise InvalidCohort(subject, problems)
    if duplicates is not None:
        rows, attrition = _without_duplicates(duplicates, rows, attrition)
    return rows, attrition


def _code_problems(rules: tuple[InclusionRule, ...], rows: pd.DataFrame) -> list[Problem]:
    problems = []
    for rule in rules:
        if rule.condition.codes is None:
            continue
        known = (*rule.condition.codes, *rule.leave_out)
        unknown = np.flatnonzero(~member(rows[rule.condition.column], known))
        if unknown.size:
            remedy = codes_remedy(known)
            problems.append(rows_problem(rule.condition.column, UNKNOWN_CODE, remedy, rows, unknown))
    return problems


def _without_duplicates(
    duplicates: DuplicateRule, rows: pd.DataFrame, attrition: Attrition
) -> tuple[pd.DataFrame, Attrition]:
    """Keep the first of rows that are equal in all columns; a row with an empty cell is never a duplicate."""
    part = rows[list(duplicates.columns)]
    again = part.duplicated().to_numpy(dtype=bool) & part.notna().all(axis=1).to_numpy(dtype=bool)
    return rows[~again], attrition.then(duplicates.reason, int(again.sum()))
