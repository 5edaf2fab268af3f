"""Landmarks: starting the clock later, so that what happened until then may be a predictor.

A landmark analysis counts only patients at risk on the landmark day: alive, still followed, and without the
event of any endpoint that is predicted from there. Counting the others would credit treatments with the time
that their patients had to live to receive them (immortal time bias).
"""

from collections.abc import Sequence
from dataclasses import replace

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.endpoints import ENDPOINTS
from features.errors import InvalidCohort, Problem
from features.index_date import month_count, time_zero

FOLLOWED = ENDPOINTS["overall_survival"].clock
CLOCKS = frozenset(endpoint.clock for endpoint in ENDPOINTS.values() if endpoint.timed)
GROWING = {"age": 1.0 / 12.0, "months_since_transplant": 1.0}
"""Predictors that count time up to the index date, and by how much one month adds to them."""


def landmark(cohort: Cohort, *, months: float, endpoints: Sequence[str] = ("overall_survival",)) -> Cohort:
    """Return the patients at risk of every timed endpoint at a landmark, with their clocks started there.

    Whoever left by then is counted under a reason of its own. A time that is missing stays missing, for the
    endpoint to refuse by name.

    Raises:
        InvalidCohort: when the landmark is not after the index date, the cohort joins several sources, lacks
            the follow-up of an endpoint, or has nobody left.

    """
    timed = [ENDPOINTS[name] for name in endpoints if ENDPOINTS[name].timed]
    reasons = {FOLLOWED: "died or lost"} if FOLLOWED in cohort.values else {}
    for endpoint in timed:
        reasons.setdefault(endpoint.clock, f"event or censoring of {endpoint.title.lower()}")
    _require_possible(cohort, months, tuple(reasons))
    (source,) = cohort.provenance
    kept, attrition = cohort, source.attrition
    for clock, reason in reasons.items():
        at_risk = ~(kept.values[clock] <= months)
        leaving = int((~at_risk).sum())
        attrition = attrition.then(f"{reason} within {month_count(months)} of the index date", leaving)
        kept = kept.take(at_risk)
    if not len(kept):
        raise InvalidCohort("landmark", [Problem("landmark", "leaves nobody", "choose an earlier one")])
    values = {name: _moved(name, column, months) for name, column in kept.values.items()}
    moved = replace(source, index_event=time_zero(source.index_event, months), attrition=attrition)
    return replace(kept, values=values, provenance=(moved,))


def _require_possible(cohort: Cohort, months: float, clocks: Sequence[str]) -> None:
    problems = [
        Problem(clock, "is missing from the cohort", "map it in the recipe")
        for clock in clocks or (FOLLOWED,)
        if clock not in cohort.values
    ]
    if not months > 0:
        problems.append(Problem("landmark", "is not after the index date", "give months above 0"))
    if len(cohort.provenance) != 1:
        remedy = "set it on each source's cohort before they are joined"
        problems.append(
            Problem("landmark", "cannot be set on a cohort of several sources, or of none", remedy)
        )
    if problems:
        raise InvalidCohort("landmark", problems)


def _moved(name: str, column: FloatArray, months: float) -> FloatArray:
    if name in CLOCKS:
        clock: FloatArray = (column - months).clip(min=0.0)
        return clock
    return column + months * GROWING[name] if name in GROWING else column
