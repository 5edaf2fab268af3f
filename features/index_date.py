"""The index date, on which the clock starts, and the refusal of knowledge from later than it."""

from features.dictionary import Dictionary
from features.errors import Problem


def time_zero(index_event: str, landmark: float | None) -> str:
    """Say in words where the clock starts: at the index event, or at a landmark some months after it.

    >>> time_zero("first relapse", None), time_zero("first relapse", 2.0)
    ('first relapse', 'first relapse, plus 2 months')
    """
    if landmark is None:
        return index_event
    return f"{index_event}, plus {month_count(landmark)}"


def month_count(months: float) -> str:
    """Return a number of months in words.

    >>> month_count(1.0), month_count(2.5)
    ('1 month', '2.5 months')
    """
    return f"{months:g} month" if months == 1 else f"{months:g} months"


def late_predictors(predictors: Dictionary, *, index_event: str) -> list[Problem]:
    """Name the predictors that become known only after the index date.

    Using one of them would let the future explain the past (immortal time bias).
    """
    remedy = (
        "drop it, or declare it known at the index date and start the clock once it is: protocol key landmark"
    )
    return [
        Problem(field.name, f"is known only after the index date ({index_event})", remedy)
        for field in predictors.fields
        if field.known == "after"
    ]
