"""The server's commands."""

import os
import sys
from dataclasses import replace
from typing import Annotated

import typer
import uvicorn

from models.shelf import Shelf
from serving.audit.replay import replay
from serving.audit.store import SqliteAuditStore
from serving.settings import ServingSettings

audit = typer.Typer(no_args_is_help=True, help="Read the record and reproduce what stands in it.")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve the promoted models."""
    from serving.app import create_app  # noqa: PLC0415  the other commands need no web framework

    settings = ServingSettings.from_environment(os.environ)
    settings = replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="info")


@audit.command("show")
def show(prediction_id: str) -> None:
    """Print a record's exact bytes."""
    settings = ServingSettings.from_environment(os.environ)
    sys.stdout.buffer.write(SqliteAuditStore(settings.audit).get(prediction_id).body + b"\n")


@audit.command("replay")
def replay_command(prediction_id: str) -> None:
    """Compute a recorded prediction again and compare it bit for bit; exit 1 when it differs."""
    settings = ServingSettings.from_environment(os.environ)
    entry = SqliteAuditStore(settings.audit).get(prediction_id)
    found = replay(entry, shelf=Shelf(settings.shelf))
    if not found.untouched:
        typer.echo(f"record {found.seq} was changed after it was written")
    for part in found.differences:
        typer.echo(f"{part} came out differently")
    if not found.same:
        raise typer.Exit(1)
    typer.echo(f"record {found.seq} reproduced bit for bit")
