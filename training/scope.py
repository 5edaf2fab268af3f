"""Scope: the patients of a cohort that a protocol is about."""

import numpy as np

from features.cohort import Cohort
from features.endpoints import ENDPOINT_FIELDS
from features.errors import InvalidCohort, Problem
from features.protocol import StudyProtocol


def in_scope(cohort: Cohort, protocol: StudyProtocol) -> Cohort:
    """Return the cohort when it fits the protocol.

    Raises:
        InvalidCohort: when a column is missing, a patient's disease is outside the protocol, or a cohort
            starts its clock at another index event.

    """
    needed = (*protocol.predictors, *ENDPOINT_FIELDS[protocol.endpoint])
    problems = [
        Problem(
            name, "is missing from the cohort", f"protocol {protocol.name} needs it; map it in the recipe"
        )
        for name in needed
        if name not in cohort.dictionary
    ]
    problems += [
        Problem(
            "index_event", f"of {source.recipe} is {source.index_event}", f"expected {protocol.index_event}"
        )
        for source in cohort.provenance
        if source.index_event != protocol.index_event
    ]
    if "disease" in cohort.dictionary:
        outside = np.flatnonzero([disease not in protocol.diseases for disease in cohort.text("disease")])
        if outside.size:
            remedy = "exclude these patients in the recipe; expected " + ", ".join(protocol.diseases)
            rows = tuple((outside[:5] + 1).tolist())
            problems.append(Problem("disease", "is outside the protocol", remedy, int(outside.size), rows))
    if problems:
        raise InvalidCohort(f"cohort for {protocol.name}", problems)
    return cohort


def with_every_disease(cohort: Cohort, protocol: StudyProtocol) -> Cohort:
    """Return the cohort when each disease of the protocol has patients to learn from.

    Raises:
        InvalidCohort: naming the diseases that have none.

    """
    absent = sorted(set(protocol.diseases) - set(cohort.text("disease")))
    if absent:
        remedy = "add a cohort of it (--cohort ready adds the public ones), or leave it out of the protocol"
        raise InvalidCohort(
            f"cohort for {protocol.name}", [Problem(d, "has no patient", remedy) for d in absent]
        )
    return cohort
