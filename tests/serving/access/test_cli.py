"""The commands for API keys, as they are run."""

import asyncio
import os

import pytest
from typer.testing import CliRunner

from features.errors import InvalidInput, NotFound
from serving.access.cli import keys
from serving.access.errors import Unauthenticated
from serving.access.keys import KeyRing
from serving.access.principal import AccessScope
from serving.access.store import AccessStore


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SALVAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SALVAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


def run(*said):
    found = CliRunner().invoke(keys, said)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def verify(home, shown):
    return asyncio.run(KeyRing(AccessStore(f"sqlite:///{home / 'access.db'}")).verify(shown.encode()))


def test_a_key_is_printed_once_valid_at_once_listed_without_its_secret_and_revoked(home):
    made = run("create", "Ward [7]", "--scope", "predict", "--scope", "audit:read", "--days", "30")
    shown = made.stdout.strip()
    identity = shown.split("_")[1]
    assert "only its hash is stored" in made.stderr
    assert shown not in made.stderr
    principal = verify(home, shown)
    assert (principal.name, principal.scopes) == ("Ward [7]", {AccessScope.PREDICT, AccessScope.AUDIT_READ})
    listed = run("list").stdout
    assert all(said in listed for said in (identity, "Ward [7]", "audit:read, predict", "valid"))
    assert shown.split("_", 2)[2] not in listed
    assert identity in run("revoke", identity).stdout
    assert "revoked" in run("list").stdout
    with pytest.raises(Unauthenticated):
        verify(home, shown)


def test_a_key_that_has_expired_is_listed_as_such(home):
    run("create", "ward", "--scope", "predict", "--days", "0")
    assert "expired" in run("list").stdout


def test_an_unknown_key_is_not_revoked(home):
    with pytest.raises(NotFound, match="run: salvage keys list"):
        run("revoke", "nothing")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201])
def test_a_name_that_cannot_be_read_is_refused(home, name):
    with pytest.raises(InvalidInput, match="cannot name a client"):
        run("create", name, "--scope", "predict")
    assert "predict" not in run("list").stdout


@pytest.mark.parametrize("said", [("create", "ward"), ("create", "ward", "--scope", "everything")])
def test_a_key_needs_a_scope_that_there_is(home, said):
    assert run(*said).exit_code == 2
    assert not home.exists()
