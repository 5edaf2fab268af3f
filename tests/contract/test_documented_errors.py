"""Every documented error of every protocol really comes, as it is documented; none that comes is left out."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from models.bundle.bundle import ModelBundle
from serving.access.cds_clients import CdsClient
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.settings import AccessSettings
from serving.access.store import AccessStore
from serving.app import create_app
from serving.audit.retention import erasures
from serving.server import open_log
from serving.settings import ServingSettings
from tests.contract.test_openapi import OPENAPI, OPERATIONS
from tests.lib.patients import BREAST
from tests.serving.access.issuer import Signer
from tests.serving.cds.calls import VIEW, call
from tests.serving.client import MODEL, PREDICTIONS, TestClient, deploy

PUBLIC, EHR = "https://salvage.hospital.example", "https://ehr.hospital.example"
CDS, FHIR, INFERENCE = "/cds-services", "/v1/fhir", "/v2"
SMALL = 2000
JSON_LINES = {"content-type": "application/jsonl"}
TEXT = {"content-type": "text/html"}
LONG = {"patient": BREAST, "subject": "x" * SMALL}
NAMES = {"name": MODEL, "version": "1", "service_id": VIEW, "prediction_id": "nope", "record_id": "nope"}
DOCUMENTED = [
    (path, method, int(status))
    for path, method in OPERATIONS
    for status in OPENAPI["paths"][path][method]["responses"]
    if int(status) >= 400
]


@dataclass
class House:
    """Deployments of one home: as it should be, with a low rate, full, without a model, with small limits."""

    home: Path
    keys: dict[str, str]
    signer: Signer
    clients: dict[str, TestClient]

    def ask(
        self,
        path: str,
        method: str,
        where: str = "whole",
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        key: str = "all",
        times: int = 1,
        **names: str,
    ) -> Any:
        """Ask with a key, or with a token where a CDS client would."""
        target = path.format(**NAMES | names)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        for _ in range(times):
            allowed = self.token(target) if path.startswith(CDS) else self.keys[key]
            sent = {"Authorization": f"Bearer {allowed}"} | (headers or {})
            answered = self.clients[where].request(method, target, content=content, headers=sent)
        return answered

    def token(self, target: str) -> str:
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": EHR, "aud": PUBLIC + target.partition("?")[0], "iat": now, "exp": now + 300}
        return self.signer.token(said | {"jti": uuid.uuid4().hex})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[House]:
    home = deploy(tmp_path_factory.mktemp("errors"), bundle)
    signer = Signer.make("ES384", "ec")
    keys = {"all": made_key(home, EVERY_SCOPE), "none": made_key(home, [])}
    deployments: dict[str, dict[str, Any]] = {
        "whole": {},
        "slow": {"rate": 1},
        "full": {"most_requests": 0},
        "small": {"largest_body": SMALL, "largest_chart": SMALL},
        "empty": {"home": home.parent / "elsewhere"},
    }
    with ExitStack() as opened:
        clients = {}
        for name, changes in deployments.items():
            access = AccessSettings(
                home,
                f"sqlite:///{home / 'access.db'}",
                rate=changes.pop("rate", 0),
                cds_clients=(CdsClient(EHR, keys={"keys": [signer.jwk]}),),
                public_url=PUBLIC,
            )
            settings = ServingSettings(**{"home": home, "access": access} | changes)
            log = opened.enter_context(closing(open_log(settings)))
            app = create_app(settings, log)
            clients[name] = opened.enter_context(TestClient(app, base_url=PUBLIC))
        yield House(home, keys, signer, clients)


def made_key(home: Path, scopes: Any) -> str:
    key, shown = new_key("ward", scopes, now=time.time())
    with closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store:
        store.add(key)
    return shown


def unauthenticated(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, headers={"Authorization": "Bearer none"})


def forbidden(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, key="none")


def too_many(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, "slow", times=2, body=b"{}" if method == "post" else None)


def wrong_type(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, headers=TEXT, body=b"{}")


def too_large(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, "small", body=LONG)


def busy(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, "full")


def without_model(house: House, path: str, method: str) -> Any:
    return house.ask(path, method, "empty")


def erased(house: House, path: str, method: str) -> Any:
    given = house.ask(PREDICTIONS, "post", body={"patient": BREAST}).json()
    (draft,) = erasures(
        [given["audit"]["id"]],
        now=datetime.now(UTC),
        reason="asked",
        by="tests",
        new_id=lambda: str(uuid.uuid4()),
    )
    with closing(open_log(ServingSettings(home=house.home))) as log:
        log.append_now(draft)
    return house.ask(path, method, prediction_id=given["audit"]["id"])


def asking(**how: Any) -> Callable[[House, str, str], Any]:
    return lambda house, path, method: house.ask(path, method, **how)


def queried(query: str) -> Callable[[House, str, str], Any]:
    return lambda house, path, method: house.ask(path + query, method)


NOT_KNOWN = {"patient": BREAST, "model": "nope"}
GENERAL: dict[int, Callable[[House, str, str], Any]] = {
    401: unauthenticated,
    403: forbidden,
    404: asking(**dict.fromkeys(NAMES, "nope")),
    413: too_large,
    415: wrong_type,
    422: asking(body={}),
    429: too_many,
    503: busy,
}
PARTICULAR: dict[tuple[str, str, int], Callable[[House, str, str], Any]] = {
    (PREDICTIONS, "post", 404): asking(body=NOT_KNOWN),
    ("/v1/explanations", "post", 404): asking(body=NOT_KNOWN),
    ("/v1/comparisons", "post", 404): asking(body=NOT_KNOWN | {"plans": [{}]}),
    (f"{PREDICTIONS}/{{prediction_id}}", "get", 410): erased,
    ("/v1/batches", "post", 422): asking(body=b"", headers=JSON_LINES | {"Idempotency-Key": ""}),
    ("/v1/audit/entries", "get", 422): queried("?after=x"),
    ("/v1/audit/entries/{record_id}", "get", 422): asking(record_id="x" * 201),
    ("/v1/audit/proofs/inclusion", "get", 404): queried("?id=nope"),
    ("/v1/audit/proofs/inclusion", "get", 422): queried("?size=0"),
    (f"{FHIR}/predictions", "post", 404): lambda house, path, method: house.ask(
        f"{path}?model=nope", method, body={"resourceType": "Bundle", "type": "collection", "entry": []}
    ),
    (f"{FHIR}/AuditEvent", "get", 422): queried("?_count=0"),
    (f"{CDS}/{{service_id}}", "post", 412): asking(body=call(prefetch=...)),
    (f"{INFERENCE}/models/{{name}}/infer", "post", 400): asking(body={}),
    (f"{INFERENCE}/models/{{name}}/versions/{{version}}/infer", "post", 400): asking(body={}),
    (f"{INFERENCE}/health/ready", "get", 503): without_model,
    ("/health/ready", "get", 503): without_model,
}


@pytest.mark.parametrize(("path", "method", "status"), DOCUMENTED)
def test_every_documented_error_comes_as_it_is_documented(house, path, method, status):
    provoke = PARTICULAR.get((path, method, status), GENERAL.get(status))
    assert provoke is not None, "nothing here makes it come"
    answered = provoke(house, path, method)
    assert answered.status_code == status, answered.text
    said = OPENAPI["paths"][path][method]["responses"][str(status)]
    if "content" not in said:
        return
    media_type = answered.headers["content-type"]
    assert media_type in said["content"] or status == 503, f"{media_type} is not documented"
    for documented in [said["content"].get(media_type)] if media_type in said["content"] else []:
        schema = documented["schema"] | {"components": OPENAPI["components"]}
        jsonschema.Draft202012Validator(schema).validate(answered.json())


def test_what_refuses_credentials_or_their_pace_says_how_to_go_on(house):
    for path, method, status in DOCUMENTED:
        if status == 401:
            assert unauthenticated(house, path, method).headers["www-authenticate"] == "Bearer"
    assert int(too_many(house, "/v1/models", "get").headers["retry-after"]) > 0
    assert int(busy(house, "/v1/models", "get").headers["retry-after"]) > 0


def test_every_route_that_needs_credentials_documents_that_it_does():
    for path, method in OPERATIONS:
        operation = OPENAPI["paths"][path][method]
        refusals = {"401", "429", "503"} <= set(operation["responses"])
        if path.startswith(CDS):
            assert refusals
        else:
            assert refusals == (operation.get("security") == [{"bearer": []}])
