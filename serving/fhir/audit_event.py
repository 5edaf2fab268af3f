"""A record of the log as a FHIR R4 AuditEvent, in the shape of IHE's basic audit log patterns.

Source: IHE ITI Basic Audit Log Patterns 1.1 (client, server, user, patient, transaction, data).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from serving.audit.record import LogEntry
from serving.fhir.datatypes import (
    AUDIT_TYPE,
    BUNDLES,
    CLIENTS,
    DICOM,
    ENTITY_ROLE,
    ENTITY_TYPE,
    MODELS,
    RECORDS,
    SUBJECTS,
    TRANSACTION,
    Json,
    coding,
    concept,
)

PREDICTION = "prediction"
REST = coding(AUDIT_TYPE, "rest", "RESTful Operation")
ACTIONS = {
    "feedback": "C",
    "read": "R",
    "model_loaded": "R",
    "model_promoted": "U",
    "model_rolled_back": "U",
    "erased": "D",
}
CLIENT = concept(coding(DICOM, "110152", "Destination Role ID"))
SERVER = concept(coding(DICOM, "110153", "Source Role ID"))
USER = concept(
    coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", "information recipient")
)
APPLICATION_SERVER = coding(
    "http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server"
)
SERVICE = "salvage"


def audit_event(entry: LogEntry, *, site: str | None = None) -> Json:
    """Return the AuditEvent of one record: client, user, model, and the record's place in the log.

    The patient is referenced by the keyed hash only; ``site`` names the deployment.
    """
    facts = entry.facts
    return {
        "resourceType": "AuditEvent",
        "id": entry.id,
        "type": REST,
        "subtype": [coding(RECORDS, entry.kind)],
        "action": ACTIONS.get(entry.kind, "E"),
        "recorded": entry.at,
        "outcome": "0",
        "agent": list(_agents(facts)),
        "source": ({"site": site} if site else {})
        | {"observer": {"display": SERVICE}, "type": [APPLICATION_SERVER]},
        "entity": list(_entities(entry, facts)),
    }


def model_of(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model that a record names: those of name, version and bundle that it has."""
    model = facts.get("model")
    return model if isinstance(model, dict) else {"name": model} if isinstance(model, str) else {}


def model_reference(model: Mapping[str, Any]) -> Json:
    """Return a Reference to a model, identified by its bundle's hash or else its name."""
    words = " ".join(str(model[name]) for name in ("name", "version") if model.get(name))
    system, value = (BUNDLES, model["bundle"]) if model.get("bundle") else (MODELS, model.get("name"))
    return {"identifier": {"system": system, "value": str(value)}, "display": words}


def _agents(facts: Mapping[str, Any]) -> Iterator[Json]:
    client, user = facts.get("client"), facts.get("user")
    if user:
        yield {"type": USER, "who": {"display": str(user)}, "requestor": True}
    if client:
        who = {"identifier": {"system": CLIENTS, "value": str(client)}}
        yield {"type": CLIENT, "who": who, "requestor": not user}
    yield {"type": SERVER, "who": {"display": SERVICE}, "requestor": not (client or user)}


def _entities(entry: LogEntry, facts: Mapping[str, Any]) -> Iterator[Json]:
    subject = orjson.loads(entry.body).get("subject")
    if subject:
        yield {
            "what": {"identifier": {"system": SUBJECTS, "value": subject}},
            "type": coding(ENTITY_TYPE, "1", "Person"),
            "role": coding(ENTITY_ROLE, "1", "Patient"),
        }
    if request := facts.get("request_id"):
        yield {"what": {"identifier": {"value": str(request)}}, "type": coding(TRANSACTION, "XrequestId")}
    if model := model_of(facts):
        yield {
            "what": model_reference(model),
            "type": coding(ENTITY_TYPE, "2", "System Object"),
            "role": coding(ENTITY_ROLE, "4", "Domain Resource"),
        }
    about = f"RiskAssessment/{entry.id}" if entry.kind == PREDICTION else f"{entry.kind} {entry.id}"
    yield {
        "what": {"reference": about} if entry.kind == PREDICTION else {"display": about},
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(ENTITY_ROLE, "4", "Domain Resource"),
        "detail": list(_details(entry)),
    }


def _details(entry: LogEntry) -> Iterator[Json]:
    """Yield the record's hashes and its scalar facts; none of them names a patient."""
    commitment = orjson.loads(entry.body).get("commitment")
    proof = {"seq": entry.seq, "leaf_hash": entry.leaf_hash, "commitment": commitment}
    facts = {name: value for name, value in entry.facts.items() if isinstance(value, str | int | float)}
    for name, value in (proof | facts).items():
        if value not in (None, ""):
            yield {"type": name, "valueString": str(value)}
