"""A patient's chart: FHIR resources, extracted as a model's predictors."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from features.errors import InvalidRequest, Problem
from features.sources.fhir import Extracted, extract_bundle
from features.sources.fhir.extract import NO_DISEASE, NO_RELAPSE
from features.sources.fhir.index_event import FIRST, LATEST
from models.bundle.bundle import ModelBundle

PROOF = "add a cancer disease status (LOINC 97509-4) of worsened, or a Condition in recurrence or relapse"
KNOWN = "add the primary cancer Condition, with body site or histology where its code leaves the disease open"
NOT_READABLE = {NO_RELAPSE: PROOF, NO_DISEASE: KNOWN}


class Chart:
    """One patient's resources; each protocol's index event is extracted once."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        self._bundle = bundle
        self._read: dict[str, Extracted] = {}

    def at(self, index_event: str) -> Extracted:
        """Extract what was known at a protocol's index event: the first relapse on record, or the latest."""
        which = FIRST if index_event.startswith("first") else LATEST
        if which not in self._read:
            self._read[which] = extract_bundle(self._bundle, index_event=which)
        return self._read[which]


def require_readable(extracted: Extracted, bundle: ModelBundle) -> date:
    """Return the index date of a record that holds one living patient with a relapse of a known cancer.

    A value of one of the model's predictors whose unit is in question refuses the record: taken as missing it
    would change the answer as quietly as a wrong unit would.

    Raises:
        InvalidRequest: naming everything that stands against it.

    """
    problems = [*extracted.record_problems]
    if remedy := NOT_READABLE.get(extracted.excluded or ""):
        problems.append(Problem("Bundle", str(extracted.excluded), remedy))
    if extracted.fields.get("died"):
        problems.append(Problem("Patient", "has died", "ask for a living patient"))
    asked = extracted.units_in_question
    problems += [asked[name] for name in bundle.dictionary.names if name in asked]
    if problems or extracted.index_date is None:
        raise InvalidRequest("record", problems)
    return extracted.index_date


def patient_of(extracted: Extracted, bundle: ModelBundle) -> dict[str, Any]:
    """Return the model's predictors that the chart holds."""
    return {name: extracted.fields[name] for name in bundle.dictionary.names if name in extracted.fields}


def basis_for(extracted: Extracted, bundle: ModelBundle) -> tuple[str, ...]:
    """Return the references of every resource that the model's predictors were read from, each once."""
    used = (extracted.basis.get(name, ()) for name in patient_of(extracted, bundle))
    return tuple(dict.fromkeys(reference for references in used for reference in references))


def remarks(extracted: Extracted, bundle: ModelBundle) -> tuple[str, ...]:
    """Return notes on the model's predictors: values that were interpreted, or could not be read."""
    unread = [f"{problem.problem}: not read, {problem.remedy}" for problem in extracted.value_problems]
    texts = [*unread, *extracted.notes]
    return tuple(dict.fromkeys(text for text in texts if _field(text) in bundle.dictionary))


def _field(text: str) -> str:
    """Return the field that a remark begins with."""
    return text.split(" ", 1)[0].removesuffix(":")
