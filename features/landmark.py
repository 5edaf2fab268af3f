"""Landmarks: starting the clock later, so that what happened until then may be a predictor."""

from dataclasses import replace

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import InvalidCohort, Problem

CLOCKS = ("months_followed", "months_progression_free", "months_event_free")


def landmark(cohort: Cohort, *, months: float) -> Cohort:
    """Return the patients still followed at a landmark, every clock started there.

    Patients who died or were lost by then leave the cohort and are counted. A patient whose disease
    progressed before it keeps a progression-free time of zero, which that endpoint refuses by name.

    Raises:
        InvalidCohort: when the landmark is not after the index date, the cohort joins several sources, has
            no follow-up, or nobody is left.

    """
    followed = cohort.values.get("months_followed")
    if followed is None or not months > 0 or len(cohort.provenance) != 1:
        remedy = "give months after the index date, and one source's cohort with follow-up"
        raise InvalidCohort("landmark", [Problem("landmark", "cannot be set", remedy)])
    kept = cohort.take(followed > months)
    if not len(kept):
        raise InvalidCohort("landmark", [Problem("landmark", "leaves nobody", "choose an earlier one")])
    (source,) = cohort.provenance
    reason = f"died or lost within {months:g} months of the index date"
    moved = replace(
        source,
        index_event=f"{source.index_event}, plus {months:g} months",
        attrition=source.attrition.then(reason, len(cohort) - len(kept)),
    )
    values = {name: _shifted(name, column, months) for name, column in kept.values.items()}
    return replace(kept, values=values, provenance=(moved,))


def _shifted(name: str, column: FloatArray, months: float) -> FloatArray:
    if name in CLOCKS:
        clock: FloatArray = (column - months).clip(min=0.0)
        return clock
    return column + months / 12.0 if name == "age" else column
