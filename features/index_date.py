"""Time zero: the index date, and the refusal of knowledge from later than it."""

from features.dictionary import Dictionary
from features.errors import Problem


def late_predictors(predictors: Dictionary, *, index_event: str) -> list[Problem]:
    """Name the predictors that become known only after the index date.

    Using one of them would let the future explain the past (immortal time bias).
    """
    return [
        Problem(
            field.name,
            f"is known only after the index date ({index_event})",
            "drop it, or move the index date to when it is known and start follow-up there (a landmark)",
        )
        for field in predictors.fields
        if field.known == "after"
    ]
