"""Calls as a record system makes them, and a record system to read from."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from serving.access.errors import AddressRefused
from tests.serving.fhir.charts import bundle, condition, nodes, patient, worsened

SERVER = "https://ehr.example.org/fhir"
TOKEN = "secret-token-of-the-ehr"
VIEW, SELECT, SIGN = "salvage-patient-view", "salvage-order-select", "salvage-order-sign"
HOOKS = {VIEW: "patient-view", SELECT: "order-select", SIGN: "order-sign"}
AUTHORIZED: dict[str, Any] = {
    "fhirServer": SERVER,
    "fhirAuthorization": {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "salvage",
    },
}
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"


def searchset(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    return bundle(*resources, kind="searchset") | more


def prefetch(**more: Any) -> dict[str, Any]:
    told = {
        "patient": patient(),
        "conditions": searchset(condition()),
        "diseaseStatus": searchset(worsened()),
        "performance": None,
        "labs": searchset(nodes()),
        "labsRecent": None,
        "medAdmins": None,
        "medRequests": None,
        "procedures": None,
        "lineOfTherapy": None,
    }
    return told | more


def call(service: str = VIEW, orders: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    context: dict[str, Any] = {"userId": "Practitioner/dr", "patientId": "anna", "encounterId": "e1"}
    if service != VIEW:
        context["draftOrders"] = bundle(*orders)
    if service == SELECT:
        context["selections"] = [f"{o['resourceType']}/{o['id']}" for o in orders] or ["MedicationRequest/x"]
    said = {
        "hook": HOOKS[service],
        "hookInstance": INSTANCE,
        "context": context,
        "prefetch": prefetch(),
    } | more
    return {name: value for name, value in said.items() if value is not ...}


class FakeServer:
    """A FHIR server by type: what it holds, what was asked of it and with which headers."""

    def __init__(self) -> None:
        self.holds: dict[str, Any] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def fetch(self, url: str, headers: Mapping[str, str]) -> Any:
        self.asked.append((url, dict(headers)))
        if url in self.holds:
            return self.holds[url]
        parts = urlsplit(url)
        kind = parts.path.removeprefix("/fhir/").partition("/")[0]
        code = parse_qs(parts.query).get("code", [""])[0]
        for key in (f"{kind}?{code}", kind):
            if key in self.holds:
                return self.holds[key]
        raise AddressRefused("not here")
