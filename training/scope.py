"""Scope: the patients of a cohort that a protocol is about."""

from dataclasses import replace

import numpy as np

from features.censoring import BoolArray
from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.errors import InvalidCohort, Problem
from features.landmark import landmark
from features.protocol import StudyProtocol


def select(cohort: Cohort, protocol: StudyProtocol) -> Cohort:
    """Return the patients of one source that the protocol is about, the others counted in its attrition.

    Left out are those of other diseases, those of whom an endpoint beside the leading one is unknown, and
    those no longer at risk at the protocol's landmark, where the clocks of the others then start. Without a
    landmark, a cohort joined from several sources is returned as it is.

    Raises:
        InvalidCohort: when the protocol's landmark cannot be set.

    """
    concerned = _concerned(cohort, protocol)
    if protocol.landmark is None:
        return concerned
    return landmark(concerned, months=protocol.landmark, endpoints=protocol.endpoints)


def _concerned(cohort: Cohort, protocol: StudyProtocol) -> Cohort:
    if len(cohort.provenance) != 1 or "disease" not in cohort.dictionary:
        return cohort
    concerned = np.array([disease in protocol.diseases for disease in cohort.text("disease")], dtype=bool)
    if not concerned.any():
        return cohort
    steps = {"another disease": ~concerned}
    for name in protocol.endpoints[1:]:
        if ENDPOINTS[name].timed and all(f in cohort.values for f in ENDPOINTS[name].fields):
            steps[f"{ENDPOINTS[name].title.lower()} is not recorded"] = _unknown(
                cohort, ENDPOINTS[name].fields
            )
    kept, (source,) = np.ones(len(cohort), dtype=bool), cohort.provenance
    attrition = source.attrition
    for reason, rows in steps.items():
        if leaving := int((kept & rows).sum()):
            attrition = attrition.then(reason, leaving)
        kept &= ~rows
    if kept.all():
        return cohort
    return replace(cohort.take(kept), provenance=(replace(source, attrition=attrition),))


def _unknown(cohort: Cohort, fields: tuple[str, ...]) -> BoolArray:
    """Tell of whom a field is missing or, the first being the follow-up, who was not followed at all."""
    missing = np.any([np.isnan(cohort.values[field]) for field in fields], axis=0)
    unknown: BoolArray = missing | (cohort.values[fields[0]] <= 0.0)
    return unknown


def in_scope(cohort: Cohort, protocol: StudyProtocol) -> Cohort:
    """Return the cohort when it fits the protocol.

    Raises:
        InvalidCohort: when a column is missing, a patient's disease is outside the protocol, or a cohort
            starts its clock at another index event.

    """
    recorded = [field for name in protocol.endpoints for field in ENDPOINTS[name].fields]
    needed = dict.fromkeys((*protocol.predictors, *recorded))
    problems = [
        Problem(
            name, "is missing from the cohort", f"protocol {protocol.name} needs it; map it in the recipe"
        )
        for name in needed
        if name not in cohort.dictionary
    ]
    problems += [
        Problem(
            "index_event", f"of {source.recipe} is {source.index_event}", f"expected {protocol.time_zero}"
        )
        for source in cohort.provenance
        if source.index_event != protocol.time_zero
    ]
    if "disease" in cohort.dictionary:
        diseases = enumerate(cohort.text("disease"), start=1)
        if outside := [row for row, disease in diseases if disease not in protocol.diseases]:
            remedy = "exclude these patients in the recipe; expected " + ", ".join(protocol.diseases)
            problems.append(Problem.in_rows("disease", "is outside the protocol", remedy, outside))
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
