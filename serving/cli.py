"""The commands of the server and of its audit log."""

import os
from dataclasses import replace
from typing import Annotated

import typer

from serving.audit.cli import audit
from serving.export import export
from serving.settings import ServingSettings

__all__ = ["audit", "serve"]

audit.command("export")(export)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Let everyone in; on this machine only.")] = False,
) -> None:
    """Serve the promoted models."""
    from serving.server import serve as run  # noqa: PLC0415  the other commands need no web framework

    environment = dict(os.environ)
    if host is not None:
        environment["SALVAGE_HOST"] = host
    if demo:
        environment |= {"SALVAGE_ACCESS": "off", "SALVAGE_DEMO": "1"}
    settings = ServingSettings.from_environment(environment)
    run(replace(settings, port=port or settings.port, workers=workers or settings.workers))
