"""The audit commands, for auditors and for operators of the server."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from features.errors import InvalidInput, NotFound, Problem
from serving.audit.backup import back_up
from serving.audit.checkpoint import CheckpointFile
from serving.audit.deployed import DeployedLog, StoreOption, SubjectOption, new_id, operator
from serving.audit.note import PublicKey, load_key
from serving.audit.proofs import LogTree
from serving.audit.retention import erasures, over
from serving.audit.verify import Verification, verify

audit = typer.Typer(
    no_args_is_help=True, help="Verify the record, read it, prove and reproduce what stands in it."
)


@audit.command("verify")
def verify_command(
    store: StoreOption = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="The checkpoints' file, if it is not this deployment's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The public key of the checkpoints, if it is not this deployment's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read the whole record and name whatever is not as it was written; exit 1 when something is."""
    log = DeployedLog.at(store)
    signed = CheckpointFile(checkpoints) if checkpoints else log.checkpoints
    result = verify(log.address, checkpoints=signed, key=_public_key(log, key))
    if as_json:
        typer.echo(orjson.dumps(asdict(result) | {"sound": result.sound, "first_bad": result.first_bad}))
    else:
        _print(result)
    if not result.sound:
        raise typer.Exit(1)


def _public_key(log: DeployedLog, text: str | None) -> PublicKey | None:
    if text is not None:
        return PublicKey.parse(text)
    return load_key(log.settings.audit_key).public if log.settings.audit_key.exists() else None


def _print(result: Verification) -> None:
    for finding in result.findings:
        typer.echo(finding.problem)
    if result.first_bad is not None:
        typer.echo(f"the first bad record is {result.first_bad}")
    against = f"{result.checkpoints} checkpoints" if result.checkpoints else "no checkpoint"
    typer.echo(f"{result.size} records, held against {against}; root {result.root_hash}")
    if result.sound:
        typer.echo("everything is as it was written")


@audit.command("show")
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID")],
    store: StoreOption = None,
    content: Annotated[
        bool,
        typer.Option("--content", help="Print what was asked and answered; that it was read is recorded."),
    ] = False,
) -> None:
    """Print a record's exact bytes, or those of its content."""
    log = DeployedLog.at(store)
    entry = log.store.get(record_id)
    if content:
        if entry.content is None:
            raise NotFound(f"record {entry.seq} has no content, or it has been erased")
        log.record_reading({"entry": entry.id})
    sys.stdout.buffer.write((entry.content if content and entry.content else entry.body) + b"\n")
    sys.stdout.buffer.flush()


@audit.command("prove")
def prove(
    record_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    first: Annotated[int | None, typer.Option("--from", help="The size of the earlier tree.")] = None,
    second: Annotated[int | None, typer.Option("--to", help="The size of the later tree.")] = None,
    store: StoreOption = None,
) -> None:
    """Prove that a record is in the tree of the newest checkpoint, or that one tree is another one grown."""
    deployed = DeployedLog.at(store)
    log = deployed.store
    tree = LogTree(log.leaves)
    head, last = log.head(), deployed.checkpoints.last()
    if record_id is None:
        if first is None:
            raise InvalidInput("request", [Problem("ID or --from", "is missing", "say what to prove")])
        typer.echo(orjson.dumps(tree.consistency(first, second or head.size, size=head.size)))
        return
    entry = log.get(record_id)
    signed = last.size if last is not None and entry.seq <= last.size else head.size
    proof = tree.inclusion(entry, second or signed, size=head.size)
    note = last.note if last is not None and last.size == proof.tree_size else None
    typer.echo(orjson.dumps(asdict(proof) | {"checkpoint": note}))


@audit.command("replay")
def replay_command(
    record_id: Annotated[str, typer.Argument(metavar="ID")], store: StoreOption = None
) -> None:
    """Compute a recorded answer again and compare it bit for bit; exit 1 when it differs."""
    from models.bundle.shelf import Shelf  # noqa: PLC0415  loading models takes as long as all else here
    from serving.audit.replay import replay  # noqa: PLC0415

    log = DeployedLog.at(store)
    result = replay(log.store.get(record_id), shelf=Shelf(log.settings.shelf))
    if not result.untouched:
        typer.echo(f"record {result.seq} was changed after it was written")
    for part in result.differences:
        typer.echo(f"{part} came out differently")
    if not result.same:
        raise typer.Exit(1)
    typer.echo(f"record {result.seq} reproduced bit for bit")


@audit.command("backup")
def backup(destination: Annotated[Path, typer.Argument(metavar="FILE")], store: StoreOption = None) -> None:
    """Write one consistent copy of the record, with its SHA-256 beside it; a server may be running."""
    digest = back_up(DeployedLog.at(store).store, destination)
    typer.echo(f"{digest}  {destination}")


@audit.command("erase")
def erase(
    record_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    expired: Annotated[bool, typer.Option("--expired", help="All that is past its retention time.")] = False,
    subject: SubjectOption = None,
    reason: Annotated[str, typer.Option(help="Why, as it will stand in the record.")] = "retention",
    store: StoreOption = None,
) -> None:
    """Erase what was asked and answered, and record that it was; what is recorded of it stays."""
    log, now = DeployedLog.at(store), datetime.now(UTC)
    named = [*map(log.store.get, record_ids or ())]
    if subject is not None:
        named += log.store.entries(subject=log.hashed(subject))
    ids = [entry.id for entry in named if entry.held]
    if expired:
        ids += over(log.store, now=now, days=log.settings.retention_days)
    ids = list(dict.fromkeys(ids))
    with log.sequencer() as writing:
        for draft in erasures(ids, now=now, reason=reason, by=operator(), new_id=new_id):
            writing.append_now(draft)
    typer.echo(f"the contents of {len(ids)} records were erased")


@audit.command("key")
def key_command() -> None:
    """Print the public key that verifies the checkpoints, making the key at the first use."""
    typer.echo(load_key(DeployedLog.at(None).settings.audit_key).public)
