"""Calls of a CDS service, parsed and validated."""

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from features.errors import InvalidRequest, Problem
from serving.cds.services import ORDER_SELECT, PATIENT_VIEW, CdsService

ID = r"[A-Za-z0-9.-]{1,64}"
PROFESSIONALS = ("Practitioner", "PractitionerRole")
USERS = {PATIENT_VIEW: (*PROFESSIONALS, "Patient", "RelatedPerson")}
LONGEST_TOKEN = 8192


@dataclass(frozen=True)
class FhirAccess:
    """The client's FHIR server and the bearer token for it, which is neither logged nor stored."""

    server: str
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of a read."""
        accept = {"Accept": "application/fhir+json"}
        return accept | ({"Authorization": f"Bearer {self.token}"} if self.token else {})


@dataclass(frozen=True)
class CdsCall:
    """One call: user, patient and encounter, draft orders, prefetched resources, and access to the rest."""

    instance: str
    user: str
    patient: str
    encounter: str | None
    drafts: Mapping[str, Any] | None
    prefetch: Mapping[str, Any]
    access: FhirAccess | None

    @property
    def professional(self) -> str | None:
        """Return the user where it is a professional; patients and relatives are not named in the record."""
        return self.user if self.user.split("/")[0] in PROFESSIONALS else None


def read_call(document: Mapping[str, Any], service: CdsService) -> CdsCall:
    """Parse a call of a service.

    Raises:
        InvalidRequest: naming every member that breaks the specification.

    """
    problems = [*_problems(document, service)]
    if problems:
        raise InvalidRequest("CDS Hooks request", problems)
    context = document["context"]
    return CdsCall(
        instance=document["hookInstance"],
        user=context["userId"],
        patient=context["patientId"],
        encounter=context.get("encounterId"),
        drafts=context.get("draftOrders") if service.ordering else None,
        prefetch=document.get("prefetch", {}),
        access=_access(document),
    )


def _access(document: Mapping[str, Any]) -> FhirAccess | None:
    server = document.get("fhirServer")
    if server is None:
        return None
    granted = document.get("fhirAuthorization") or {}
    return FhirAccess(server.rstrip("/"), granted.get("access_token"))


def _problems(document: Mapping[str, Any], service: CdsService) -> Iterator[Problem]:
    if document.get("hook") != service.hook:
        yield Problem("hook", "is not that of this service", f"expected {service.hook}")
    if not is_uuid(document.get("hookInstance")):
        yield Problem("hookInstance", "is missing or no UUID", "give a UUID for each time the hook fires")
    if not isinstance(document.get("prefetch", {}), dict):
        yield Problem("prefetch", "is not an object", "give resources by prefetch key")
    yield from _access_problems(document)
    context = document.get("context")
    if isinstance(context, dict):
        yield from _context_problems(context, service)
    else:
        yield Problem("context", "is missing or not an object", "give the hook's context")


def _access_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    server, granted = document.get("fhirServer"), document.get("fhirAuthorization")
    if server is not None and not (isinstance(server, str) and server.startswith(("https://", "http://"))):
        yield Problem("fhirServer", "is no address", "expected an https address")
    if granted is None:
        return
    if server is None:
        yield Problem(
            "fhirServer", "is missing beside fhirAuthorization", "say which server the token is for"
        )
    token = granted.get("access_token") if isinstance(granted, dict) else None
    plain = isinstance(token, str) and token.isascii() and token.isprintable()
    if not plain or not 0 < len(str(token)) <= LONGEST_TOKEN:
        yield Problem("fhirAuthorization", "carries no usable access_token", "give a bearer token")
    elif granted.get("token_type", "Bearer") != "Bearer":
        yield Problem("fhirAuthorization.token_type", "is not Bearer", "expected Bearer")


def _context_problems(context: Mapping[str, Any], service: CdsService) -> Iterator[Problem]:
    users = USERS.get(service.hook, PROFESSIONALS)
    if not _matches(f"({'|'.join(users)})/{ID}", context.get("userId")):
        yield Problem("context.userId", "is missing or of another kind", f"expected {' or '.join(users)}/id")
    if not _matches(ID, context.get("patientId")):
        yield Problem("context.patientId", "is missing or no FHIR id", "give the Patient's id")
    if "encounterId" in context and not _matches(ID, context["encounterId"]):
        yield Problem("context.encounterId", "is no FHIR id", "give the Encounter's id, or leave it out")
    if service.ordering:
        yield from _order_problems(context, service)


def _order_problems(context: Mapping[str, Any], service: CdsService) -> Iterator[Problem]:
    drafts = context.get("draftOrders")
    if not isinstance(drafts, dict) or drafts.get("resourceType") != "Bundle":
        yield Problem(
            "context.draftOrders", "is missing or no Bundle", "give the unsigned orders as a Bundle"
        )
    if service.hook == ORDER_SELECT:
        selections = context.get("selections")
        listed = isinstance(selections, list) and selections
        if not listed or not all(_matches(rf"[A-Za-z]+/{ID}", one) for one in selections or []):
            yield Problem(
                "context.selections", "are missing or no references", "list Type/id of draft orders"
            )


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def is_uuid(value: object) -> bool:
    """Tell whether a value is a UUID, written as usual."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False
