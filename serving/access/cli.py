"""The commands for API keys."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.errors import InvalidInput, NotFound, Problem
from serving.access.keys import new_key
from serving.access.principal import AccessScope
from serving.access.settings import LOOPBACK, AccessSettings
from serving.access.store import AccessStore, ApiKey

LONGEST_NAME = 200

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@keys.command("create")
def create(
    name: str,
    scopes: Annotated[list[AccessScope], typer.Option("--scope", help="What it allows; repeat for several.")],
    days: Annotated[
        float | None, typer.Option(min=0.0, help="Days it is valid; for ever when absent.")
    ] = None,
) -> None:
    """Make a key and print it, once: it cannot be shown again."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        problem = Problem("NAME", "cannot name a client", f"1 to {LONGEST_NAME} printable characters")
        raise InvalidInput("key", [problem])
    key, shown = new_key(name, scopes, now=time.time(), days=days)
    _store().add(key)
    typer.echo(shown)
    typer.echo(f"key {key.id} of {name}; keep it now, as only its hash is stored", err=True)


@keys.command("list")
def list_keys() -> None:
    """List every key ever made; none can be read back."""
    table = Table("id", "name", "scopes", "made", "expires", "state")
    now = time.time()
    for key in _store().every_key():
        scopes = ", ".join(sorted(key.scopes))
        table.add_row(
            key.id, escape(key.name), scopes, _day(key.created_at), _day(key.expires_at), _state(key, now)
        )
    Console().print(table)


@keys.command("revoke")
def revoke(id: str) -> None:  # noqa: A002  the command's argument
    """Revoke a key for good; every server refuses it within a second."""
    if not _store().revoke(id, at=int(time.time())):
        raise NotFound(f"no key {id}; run: salvage keys list")
    typer.echo(f"key {id} is revoked")


def _store() -> AccessStore:
    home = Path(os.environ.get("SALVAGE_HOME", "var")).absolute()
    settings = AccessSettings.from_environment(os.environ, home=home, host=LOOPBACK)
    home.mkdir(parents=True, exist_ok=True)
    return AccessStore(settings.store)


def _state(key: ApiKey, now: float) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    return "valid" if key.valid(now) else "expired"


def _day(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
