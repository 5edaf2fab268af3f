"""FHIR dates as calendar days; a partial date becomes the middle of its period, and is marked as partial."""

import re
from datetime import date
from functools import lru_cache

SHAPE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T.*)?)?)?", re.DOTALL)


@lru_cache(maxsize=65536)
def read_day(text: str) -> tuple[date | None, bool]:
    """Return a FHIR date's day and whether it is partial; (None, False) for any other text.

    The time zone is ignored: the day is the one written. A year becomes 2 July, a month the 15th.

    >>> read_day("2018-04-12T08:30:00Z")
    (datetime.date(2018, 4, 12), False)
    >>> read_day("2018"), read_day("12/04/2018")
    ((datetime.date(2018, 7, 2), True), (None, False))
    """
    matched = SHAPE.fullmatch(text)
    if matched is None:
        return None, False
    year, month, day = matched.groups()
    try:
        if month is None:
            return date(int(year), 7, 2), True
        return date(int(year), int(month), int(day or 15)), day is None
    except ValueError:
        return None, False
