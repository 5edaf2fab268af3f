"""Records as FHIR: Bundles of AuditEvents, with the Provenance of each prediction where it is exported."""

from collections.abc import Iterable, Iterator

from serving.audit.record import LogEntry
from serving.fhir.audit_event import PREDICTION, audit_event
from serving.fhir.datatypes import Json
from serving.fhir.provenance import provenance


def fhir_resources_of(entries: Iterable[LogEntry], *, site: str | None = None) -> Iterator[Json]:
    """Yield each record's AuditEvent, and for a prediction its Provenance; a log of any length."""
    for entry in entries:
        yield audit_event(entry, site=site)
        if entry.kind == PREDICTION:
            yield provenance(entry)


def fhir_bundle_of(entries: Iterable[LogEntry], *, site: str | None = None) -> Json:
    """Return some records as one Bundle of type collection."""
    resources = fhir_resources_of(entries, site=site)
    listed = [{"fullUrl": _address(resource), "resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection"} | ({"entry": listed} if listed else {})


def search_results(entries: Iterable[LogEntry], *, address: str, following: str | None) -> Json:
    """Return records as a searchset Bundle with links to itself and to the next page."""
    links = [{"relation": "self", "url": address}]
    if following:
        links.append({"relation": "next", "url": following})
    results = [
        {"fullUrl": _address(event), "resource": event, "search": {"mode": "match"}}
        for event in map(audit_event, entries)
    ]
    return {"resourceType": "Bundle", "type": "searchset", "link": links} | (
        {"entry": results} if results else {}
    )


def _address(resource: Json) -> str:
    return f"urn:salvage:{resource['resourceType']}:{resource['id']}"
