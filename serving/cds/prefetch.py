"""Prefetch: resources sent with a call, completed from the client's FHIR server, as one Bundle."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from features.errors import SalvageError
from serving.access.errors import AddressRefused
from serving.cds.call import CdsCall, FhirAccess
from serving.cds.services import LABS, NECESSARY, PREFETCH, RECENT_DAYS, RECENT_LABS

Fetch = Callable[[str, Mapping[str, str]], Awaitable[Any]]
Resources = list[Mapping[str, Any]]
MOST_PAGES = 5
EITHER = {LABS: RECENT_LABS, RECENT_LABS: LABS}


class PrefetchMissing(SalvageError):
    """Required prefetch ``keys`` were neither sent nor could be fetched."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        super().__init__("needed and neither sent nor to be fetched: " + ", ".join(self.keys))


@dataclass(frozen=True)
class PrefetchedChart:
    """One patient's Bundle, the prefetch keys without an answer, and whether pages were left unread."""

    bundle: Mapping[str, Any]
    absent: tuple[str, ...]
    cut: bool


async def gather(call: CdsCall, *, fetch: Fetch | None, today: date) -> PrefetchedChart:
    """Merge sent and fetched resources and the draft orders into one Bundle.

    A prefetch value of null says that there are no such data; an OperationOutcome, that the client failed.

    Raises:
        PrefetchMissing: when the patient, the conditions or the disease status cannot be had.

    """
    sent = {key: call.prefetch[key] for key in PREFETCH if _answered(call.prefetch, key)}
    needed = [key for key in PREFETCH if key not in sent and EITHER.get(key) not in sent]
    needed = [key for key in needed if key != LABS]
    if call.access and fetch:
        sent |= await _fetched(call, call.access, needed, fetch, today)
    absent = tuple(key for key in needed if key not in sent)
    necessary = [key for key in NECESSARY if key in absent or (key == "patient" and not sent.get(key))]
    if necessary:
        raise PrefetchMissing(necessary)
    pages = await asyncio.gather(*(_pages(value, call.access, fetch) for value in sent.values()))
    entries = [part for value, _ in pages for part in value]
    entries += _parts(call.drafts) if call.drafts else []
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return PrefetchedChart(bundle, absent, any(cut for _, cut in pages))


def _answered(prefetch: Mapping[str, Any], key: str) -> bool:
    value = prefetch.get(key, {})
    if value is None:
        return key != RECENT_LABS or LABS not in prefetch  # null where a client does not know today()
    return isinstance(value, dict) and value.get("resourceType") not in (None, "OperationOutcome")


async def _fetched(
    call: CdsCall, access: FhirAccess, keys: list[str], fetch: Fetch, today: date
) -> dict[str, Any]:
    """Fetch the templates of some prefetch keys, leaving out those that fail."""

    async def read(key: str) -> Any:
        try:
            return await fetch(f"{access.server}/{filled(PREFETCH[key], call, today)}", access.headers)
        except AddressRefused:
            return None

    responses = await asyncio.gather(*(read(key) for key in keys))
    answers = {key: value for key, value in zip(keys, responses, strict=True) if isinstance(value, dict)}
    return {key: value for key, value in answers.items() if _answered(answers, key)}


def filled(template: str, call: CdsCall, today: date) -> str:
    """Fill a prefetch template, and return the relative URL of the read or search."""
    since = (today - timedelta(days=RECENT_DAYS)).isoformat()
    address = template.replace("{{context.patientId}}", call.patient)
    return address.replace(f"{{{{today() - {RECENT_DAYS} days}}}}", since).replace("|", "%7C")


async def _pages(value: Any, access: FhirAccess | None, fetch: Fetch | None) -> tuple[Resources, bool]:
    """Return the entries of a resource or of a Bundle's pages, and whether some pages were not read.

    A page elsewhere than on the client's own server is not read: the token is for that server alone.
    """
    entries = _parts(value)
    for _ in range(MOST_PAGES):
        following = _next(value)
        if following is None:
            return entries, False
        if access is None or fetch is None or not following.startswith(access.server + "/"):
            return entries, True
        try:
            value = await fetch(following, access.headers)
        except AddressRefused:
            return entries, True
        entries += _parts(value)
    return entries, _next(value) is not None


def _next(value: Any) -> str | None:
    links = value.get("link") if isinstance(value, dict) else None
    listed = [one for one in links if isinstance(one, dict)] if isinstance(links, list) else []
    return next((str(one["url"]) for one in listed if one.get("relation") == "next" and "url" in one), None)


def _parts(value: Any) -> Resources:
    """Return a Bundle's entries, or a resource as an entry, without OperationOutcomes."""
    if not isinstance(value, dict):
        return []
    if value.get("resourceType") != "Bundle":
        return [{"resource": value}]
    entries = value.get("entry")
    listed = [part for part in entries if isinstance(part, dict)] if isinstance(entries, list) else []
    return [part for part in listed if isinstance(part.get("resource"), dict) and not _failure(part)]


def _failure(part: Mapping[str, Any]) -> bool:
    return bool(part["resource"].get("resourceType") == "OperationOutcome")
