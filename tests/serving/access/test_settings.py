"""The settings of access: read once, everything wrong named at once, and never open by mistake."""

import asyncio
import json
from pathlib import Path

import pytest

from features.errors import InvalidInput
from serving.access.cds_clients import CdsClient
from serving.access.principal import DEMO, AccessScope
from serving.access.settings import AccessSettings
from serving.access.tokens import IdentityProvider
from serving.access.wiring import open_access

HOME = Path("/srv/salvage")
LOCAL = "127.0.0.1"


def read(host=LOCAL, home=HOME, **environ):
    return AccessSettings.from_environment(
        {f"SALVAGE_{name.upper()}": value for name, value in environ.items()}, home=home, host=host
    )


def wrong(host=LOCAL, **environ):
    with pytest.raises(InvalidInput) as refused:
        read(host, **environ)
    return {problem.field for problem in refused.value.problems}


def test_without_settings_keys_are_needed_and_kept_at_home():
    settings = read(host="0.0.0.0")
    assert settings == AccessSettings(HOME, "sqlite:////srv/salvage/access.db")
    assert not settings.off
    assert settings.subject_key == HOME / "subject.key"


def test_every_setting_is_read(tmp_path, ec_signer):
    (tmp_path / "ehr.json").write_text(json.dumps({"keys": [ec_signer.jwk]}))
    clients = tmp_path / "clients.yaml"
    clients.write_text(
        "- {issuer: https://a.example, jku: https://a.example/jwks.json, tenants: [oncology]}\n"
        "- {issuer: b, jwks: ehr.json, algorithms: [ES384]}\n"
    )
    settings = read(
        access_store="postgresql+psycopg://db/salvage",
        rate="600",
        oidc_issuer="https://login.example",
        oidc_audience="salvage",
        oidc_jwks="https://login.example/jwks.json",
        cds_clients=str(clients),
        public_url="https://salvage.example/api",
        allowed_addresses="https://ehr.example/fhir, 10.20.0.0/16",
    )
    assert settings.store == "postgresql+psycopg://db/salvage"
    assert "db/salvage" not in repr(settings)
    assert settings.rate == 600
    assert settings.oidc == IdentityProvider(
        "https://login.example", "salvage", "https://login.example/jwks.json"
    )
    assert settings.public_url == "https://salvage.example/api"
    assert settings.allowed.prefixes == ("https://ehr.example/fhir",)
    assert [str(network) for network in settings.allowed.networks] == ["10.20.0.0/16"]
    keys = {"keys": [ec_signer.jwk]}
    assert settings.cds_clients == (
        CdsClient("https://a.example", "https://a.example/jwks.json", tenants=("oncology",)),
        CdsClient("b", None, keys, algorithms=("ES384",)),
    )


def test_everything_wrong_is_named_at_once(tmp_path):
    found = wrong(
        host="0.0.0.0",
        access="off",
        access_store="postgres://nowhere",
        rate="many",
        oidc_issuer="https://login.example",
        oidc_jwks="login.example",
        cds_clients=str(tmp_path / "nothing.yaml"),
        public_url="salvage.example",
        allowed_addresses="ehr.example",
    )
    names = [
        "ACCESS",
        "ACCESS_STORE",
        "HOST",
        "RATE",
        "OIDC_AUDIENCE",
        "OIDC_JWKS",
        "CDS_CLIENTS",
        "PUBLIC_URL",
        "ALLOWED_ADDRESSES",
    ]
    assert found == {f"SALVAGE_{name}" for name in names}


@pytest.mark.parametrize("host", [LOCAL, "::1", "localhost", "127.8.9.1"])
def test_access_may_be_off_in_the_demo_on_loopback(host):
    settings = read(host, access="off", demo="1")
    assert settings.off
    access = open_access(settings, host=host)
    assert asyncio.run(access.gate.admit([(b"host", b"localhost")], AccessScope.AUDIT_READ)) == DEMO
    assert asyncio.run(access.cds_clients.verify(None, "http://127.0.0.1/")) == DEMO


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "salvage.example", "", "127.0.0.1.example", "LOCALHOST."]
)
def test_access_is_never_off_where_others_reach_the_server(host):
    assert "SALVAGE_HOST" in wrong(host, access="off", demo="1")
    with pytest.raises(InvalidInput, match="others can reach this server"):
        open_access(read(LOCAL, access="off", demo="1"), host=host)


@pytest.mark.parametrize("demo", [{}, {"demo": "0"}, {"demo": ""}, {"demo": "false"}])
def test_access_is_never_off_outside_the_demo(demo):
    assert wrong(access="off", **demo) == {"SALVAGE_ACCESS"}


@pytest.mark.parametrize("mode", ["", "OFF", "none", "no", "false", "key"])
def test_what_is_neither_is_refused_and_not_taken_for_off(mode):
    assert wrong(access=mode, demo="1") == {"SALVAGE_ACCESS"}


@pytest.mark.parametrize("rate", ["-1", "1.5", "", "²", "1e3"])
def test_a_rate_that_is_no_whole_number_is_refused(rate):
    assert wrong(rate=rate) == {"SALVAGE_RATE"}


HERE = "jku: https://a.example"


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", "- x", "- {issuer: a}", f"- {{issuer: a, {HERE}, jwks: x.json}}", f"- {{{HERE}}}",
        "- {issuer: a, jku: a.example}", "- {issuer: a, jwks: nothing.json}",
        "- {issuer: a, jwks: keys.json}",
        f"- {{issuer: a, {HERE}, algorithms: [HS256]}}", f"- {{issuer: a, {HERE}, algorithms: []}}",
        f"- {{issuer: a, {HERE}, algorithms: [none]}}", f"- {{issuer: a, {HERE}, secret: x}}",
        f"- {{issuer: a, {HERE}}}\n- {{issuer: a, jku: https://b.example}}", f"- {{issuer: '', {HERE}}}",
        "[", "!!python/object/apply:os.system [true]", "\x00",
    ],
)  # fmt: skip
def test_a_clients_file_that_is_wrong_is_refused_by_what_is_wrong(tmp_path, content, rsa_signer):
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [rsa_signer.jwk]}))
    clients = tmp_path / "clients.yaml"
    clients.write_text(content)
    assert {field.split("[")[0] for field in wrong(cds_clients=str(clients))} == {"SALVAGE_CDS_CLIENTS"}


def test_with_keys_nobody_is_let_in_without(tmp_path):
    access = open_access(read(home=tmp_path), host="0.0.0.0", workers=2)
    for call in (
        access.gate.admit([], AccessScope.PREDICT),
        access.cds_clients.verify(None, "https://x.example/"),
    ):
        with pytest.raises(Exception, match="valid credentials are needed"):
            asyncio.run(call)
    access.store.close()
