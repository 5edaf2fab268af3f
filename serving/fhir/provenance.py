"""The FHIR R4 Provenance of a RiskAssessment: its model, client, sources and record."""

from collections.abc import Iterable

from serving.audit.record import LogEntry
from serving.fhir.audit_event import SERVICE, model_of, model_reference
from serving.fhir.datatypes import CLIENTS, PARTICIPATION, Json, coding, concept

LEAVES = "urn:salvage:leaf-hash"


def provenance(entry: LogEntry, *, basis: Iterable[str] = ()) -> Json:
    """Return the Provenance of a recorded prediction.

    ``basis`` are the references that it was read from; the log keeps none, since they name a patient. The
    record itself is always a source, by its leaf hash.
    """
    facts = entry.facts
    agents = [{"type": _part("assembler", "Assembler"), "who": _assembler(entry)}]
    if client := facts.get("client"):
        who = {"identifier": {"system": CLIENTS, "value": str(client)}}
        agents.append({"type": _part("author", "Author"), "who": who})
    record = {"identifier": {"system": LEAVES, "value": entry.leaf_hash}, "display": f"record {entry.seq}"}
    sources = [record, *({"reference": reference} for reference in basis)]
    return {
        "resourceType": "Provenance",
        "id": f"{entry.id}-provenance",
        "target": [{"reference": f"RiskAssessment/{entry.id}"}],
        "occurredDateTime": entry.at,
        "recorded": entry.at,
        "agent": agents,
        "entity": [{"role": "source", "what": what} for what in sources],
    }


def _assembler(entry: LogEntry) -> Json:
    model = model_of(entry.facts)
    return model_reference(model) if model else {"display": SERVICE}


def _part(code: str, display: str) -> Json:
    return concept(coding(PARTICIPATION, code, display))
