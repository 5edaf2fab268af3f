"""Follow-up from the index date to death or the end of observation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.sources.forms import MONTH
from features.sources.omop.cdm import Cdm, days_between

OUTSIDE = "index date outside every observation period"
DEAD_BEFORE = "death recorded before the index date"


@dataclass(frozen=True)
class FollowUp:
    """By person: months from the index date, and whether death ended them.

    ``left_out`` holds the persons without usable follow-up by reason. ``late_deaths`` counts the deaths that
    were recorded too long after the end of observation to count.
    """

    months: "pd.Series[Any]"
    died: "pd.Series[Any]"
    left_out: Mapping[str, frozenset[int]]
    late_deaths: int


def read_follow_up(cdm: Cdm, index: "pd.Series[Any]", *, persons: str, grace_days: int) -> FollowUp:
    """Return follow-up to death, else to the end of the observation period that holds the index date.

    A death up to ``grace_days`` after that end counts, at its own date: many sources end observation with the
    last visit. After a later one the person is censored at the end, because counting late deaths without
    counting late survivors would bias survival downwards.
    """
    end = _observed_until(cdm, index, persons)
    death = _deaths(cdm, persons).reindex(index.index)
    grace = pd.Timedelta(days=grace_days)
    died = death.notna() & (death <= end + grace)
    months = days_between(index, death.where(died, end)) / MONTH
    outside = frozenset(int(p) for p in index.index[end.isna()])
    before = frozenset(int(p) for p in index.index[death < index])
    late = death.notna() & end.notna() & (death > end + grace)
    return FollowUp(months, died, {OUTSIDE: outside, DEAD_BEFORE: before - outside}, int(late.sum()))


def _observed_until(cdm: Cdm, index: "pd.Series[Any]", persons: str) -> "pd.Series[Any]":
    table = "observation_period"
    frame = cdm.read(
        "SELECT observation_period_id, person_id, observation_period_start_date, "
        f"observation_period_end_date FROM {cdm.table(table)} WHERE person_id IN ({persons})"
    )
    key = "observation_period_id"
    start = cdm.dates(frame, table, "observation_period_start_date", key=key)
    end = cdm.dates(frame, table, "observation_period_end_date", key=key)
    remedy = f"correct one of the dates; records are named by {key}"
    cdm.blame(table, "ends before it starts", remedy, frame.loc[end < start, key])
    at = frame["person_id"].map(index)
    holding = (start <= at) & (at <= end)
    last = end[holding].groupby(frame.loc[holding, "person_id"]).max()
    return last.reindex(index.index)


def _deaths(cdm: Cdm, persons: str) -> "pd.Series[Any]":
    frame = cdm.read(f"SELECT person_id, death_date FROM {cdm.table('death')} WHERE person_id IN ({persons})")
    days = cdm.dates(frame, "death", "death_date", key="person_id")
    again = frame.loc[frame["person_id"].duplicated(), "person_id"]
    cdm.blame("death", "stands in several rows", "keep one row a person, named by person_id", again)
    return days.groupby(frame["person_id"]).min()
