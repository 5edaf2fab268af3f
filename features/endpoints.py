"""Endpoints: what counts as the event, measured from the index date."""

from collections.abc import Callable, Mapping

import numpy as np

from features.censoring import Outcome
from features.cohort import Cohort
from features.errors import InvalidCohort, Problem


def overall_survival(cohort: Cohort) -> Outcome:
    """Return months from the index date to death of any cause, censored at last contact.

    Raises:
        InvalidCohort: when follow-up or vital status is missing, or someone was not followed at all.

    """
    columns = {name: cohort.values.get(name) for name in OVERALL_SURVIVAL_FIELDS}
    problems = [
        Problem(n, "is missing from the cohort", "map it in the recipe")
        for n, v in columns.items()
        if v is None
    ]
    for name, values in columns.items():
        if values is not None and (blank := np.flatnonzero(np.isnan(values))).size:
            remedy = "complete it, or exclude those patients in the recipe"
            problems.append(
                Problem(name, "has no value", remedy, int(blank.size), tuple((blank[:5] + 1).tolist()))
            )
    if not problems and (unfollowed := np.flatnonzero(cohort.values["months_followed"] <= 0)).size:
        remedy = "exclude patients without follow-up after the index date"
        problems.append(
            Problem(
                "months_followed",
                "is zero",
                remedy,
                int(unfollowed.size),
                tuple((unfollowed[:5] + 1).tolist()),
            )
        )
    if problems:
        raise InvalidCohort("overall survival", problems)
    return Outcome(cohort.values["months_followed"], cohort.values["died"] == 1.0)


OVERALL_SURVIVAL_FIELDS = ("months_followed", "died")

ENDPOINTS: Mapping[str, Callable[[Cohort], Outcome]] = {"overall_survival": overall_survival}
ENDPOINT_FIELDS: Mapping[str, tuple[str, ...]] = {"overall_survival": OVERALL_SURVIVAL_FIELDS}
