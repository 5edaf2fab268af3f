"""Retention: how long contents are kept, and their erasure, which is recorded too.

Entries are never deleted. Their contents, which hold patients' values, are erased on request or after the
retention time; the rest of an entry reveals nothing of them.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from features.errors import InvalidInput, Problem
from serving.audit.batch import ERASED
from serving.audit.record import Draft
from serving.audit.store import LogStore

FLOOR_DAYS = 2192
"""Six years: HIPAA, 45 CFR 164.316(b)(2)(i), asks for documentation to be kept so long."""
PART = 500


def checked(days: int) -> int:
    """Return a retention time in days that is at least the legal minimum.

    Raises:
        InvalidInput: when it is under six years.

    """
    if days < FLOOR_DAYS:
        problem = f"is {days} days, and contents are kept {FLOOR_DAYS} days (six years) at least"
        raise InvalidInput("settings", [Problem("SALVAGE_RETENTION_DAYS", problem, "raise or unset it")])
    return days


def over(store: LogStore, *, now: datetime, days: int) -> list[str]:
    """Return the ids of entries whose contents are older than the retention time.

    Raises:
        InvalidInput: when that is under six years.

    """
    return store.held_before((now - timedelta(days=checked(days))).isoformat())


def erasures(
    ids: Sequence[str], *, now: datetime, reason: str, by: str, new_id: Callable[[], str]
) -> Iterator[Draft]:
    """Yield drafts that erase the contents of some entries when they are appended."""
    for start in range(0, len(ids), PART):
        facts = {"ids": list(ids[start : start + PART]), "reason": reason, "by": by}
        yield Draft(new_id(), now.isoformat(), ERASED, facts)
