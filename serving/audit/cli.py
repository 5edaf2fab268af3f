"""The commands of whoever looks after the record: the auditor, and the one who runs the server."""

import getpass
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from features.errors import InvalidInput, NotFound, Problem
from models.bundle.shelf import Shelf
from serving.access.subjects import subject_hash, subject_key
from serving.audit.backup import back_up
from serving.audit.checkpoint import CheckpointFile
from serving.audit.export import json_lines
from serving.audit.note import PublicKey, load_key
from serving.audit.proofs import LogTree
from serving.audit.record import Draft, Entry
from serving.audit.replay import replay
from serving.audit.retention import erasures, over
from serving.audit.sequencer import Sequencer
from serving.audit.store import Store, make_store
from serving.audit.verify import Verification, verify
from serving.settings import ServingSettings

audit = typer.Typer(
    no_args_is_help=True, help="Verify the record, read it, prove and reproduce what stands in it."
)

READ = "read"
Subject = Annotated[
    str | None, typer.Option("--subject", help="The patient's identifier, as sent with the requests.")
]
Address = Annotated[str | None, typer.Option("--store", help="Another store: a file, or postgresql://...")]


class Format(StrEnum):
    """How a record is exported."""

    JSONL = "jsonl"
    FHIR = "fhir"


@dataclass(frozen=True)
class Place:
    """Where the record of this deployment is, with what it is held against."""

    settings: ServingSettings
    address: str

    @property
    def store(self) -> Store:
        """Return the store."""
        return make_store(self.address)

    @property
    def checkpoints(self) -> CheckpointFile:
        """Return the second place."""
        return CheckpointFile(self.settings.second_place)

    def hashed(self, subject: str | None) -> str | None:
        """Return the keyed hash that stands in the record for a patient's identifier."""
        return None if subject is None else subject_hash(subject_key(self.settings.who.subject_key), subject)

    @contextmanager
    def log(self) -> Iterator[Sequencer]:
        """Open the record for writing; a server may be running."""
        opened = Sequencer(self.store)
        try:
            yield opened
        finally:
            opened.close()


def _place(address: str | None) -> Place:
    settings = ServingSettings.from_environment(os.environ)
    return Place(settings, address or settings.audit)


@audit.command("verify")
def verify_command(
    store: Address = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="The checkpoints' file, if it is not this deployment's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The public key of the checkpoints, if it is not this deployment's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read the whole record and name whatever is not as it was written; exit 1 when something is."""
    place = _place(store)
    held = CheckpointFile(checkpoints) if checkpoints else place.checkpoints
    found = verify(place.address, checkpoints=held, key=_public_key(place, key))
    if as_json:
        typer.echo(orjson.dumps(asdict(found) | {"sound": found.sound, "first_bad": found.first_bad}))
    else:
        _say(found)
    if not found.sound:
        raise typer.Exit(1)


def _public_key(place: Place, given: str | None) -> PublicKey | None:
    if given is not None:
        return PublicKey.parse(given)
    return load_key(place.settings.audit_key).public if place.settings.audit_key.exists() else None


def _say(found: Verification) -> None:
    for finding in found.findings:
        typer.echo(finding.problem)
    if found.first_bad is not None:
        typer.echo(f"the first bad record is {found.first_bad}")
    against = f"{found.checkpoints} checkpoints" if found.checkpoints else "no checkpoint"
    typer.echo(f"{found.size} records, held against {against}; root {found.root_hash}")
    if found.sound:
        typer.echo("everything is as it was written")


@audit.command("show")
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID")],
    store: Address = None,
    content: Annotated[
        bool,
        typer.Option("--content", help="Print what was asked and answered; that it was read is recorded."),
    ] = False,
) -> None:
    """Print a record's exact bytes, or those of its content."""
    place = _place(store)
    entry = place.store.get(record_id)
    if content:
        if entry.content is None:
            raise NotFound(f"record {entry.seq} has no content, or it has been erased")
        with place.log() as log:
            log.append_now(_draft(READ, {"client": _who(), "entry": entry.id}))
    sys.stdout.buffer.write((entry.content if content and entry.content else entry.body) + b"\n")
    sys.stdout.buffer.flush()


@audit.command("prove")
def prove(
    record_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    first: Annotated[int | None, typer.Option("--from", help="The size of the earlier tree.")] = None,
    second: Annotated[int | None, typer.Option("--to", help="The size of the later tree.")] = None,
    store: Address = None,
) -> None:
    """Prove that a record is in the tree of the newest checkpoint, or that one tree is another one grown."""
    place = _place(store)
    log = place.store
    tree = LogTree(log.leaves)
    head, last = log.head(), place.checkpoints.last()
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


@audit.command("export")
def export(
    store: Address = None,
    after: Annotated[int, typer.Option(help="Only records after this number.")] = 0,
    kind: Annotated[str | None, typer.Option(help="Only records of this kind.")] = None,
    subject: Subject = None,
    contents: Annotated[
        bool, typer.Option("--contents", help="With the patients' values; that they were read is recorded.")
    ] = False,
    form: Annotated[
        Format, typer.Option("--format", help="JSON Lines, or FHIR resources a line.")
    ] = Format.JSONL,
) -> None:
    """Write the record to standard output, one record a line."""
    place = _place(store)
    if contents:
        with place.log() as log:
            log.append_now(_draft(READ, {"client": _who(), "after": after, "kind": kind}))
    entries = place.store.entries(after=after, kind=kind, subject=place.hashed(subject))
    lines = _fhir_lines(entries) if form is Format.FHIR else json_lines(entries, contents=contents)
    for line in lines:
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _fhir_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    from serving.fhir.export import fhir_resources_of  # noqa: PLC0415  the other commands need no FHIR

    return (orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in fhir_resources_of(entries))


@audit.command("replay")
def replay_command(record_id: Annotated[str, typer.Argument(metavar="ID")], store: Address = None) -> None:
    """Compute a recorded answer again and compare it bit for bit; exit 1 when it differs."""
    place = _place(store)
    found = replay(place.store.get(record_id), shelf=Shelf(place.settings.shelf))
    if not found.untouched:
        typer.echo(f"record {found.seq} was changed after it was written")
    for part in found.differences:
        typer.echo(f"{part} came out differently")
    if not found.same:
        raise typer.Exit(1)
    typer.echo(f"record {found.seq} reproduced bit for bit")


@audit.command("backup")
def backup(destination: Annotated[Path, typer.Argument(metavar="FILE")], store: Address = None) -> None:
    """Write one consistent copy of the record, with its SHA-256 beside it; a server may be running."""
    digest = back_up(_place(store).store, destination)
    typer.echo(f"{digest}  {destination}")


@audit.command("erase")
def erase(
    record_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    expired: Annotated[bool, typer.Option("--expired", help="All that is past its retention time.")] = False,
    subject: Subject = None,
    reason: Annotated[str, typer.Option(help="Why, as it will stand in the record.")] = "retention",
    store: Address = None,
) -> None:
    """Erase what was asked and answered, and record that it was; what is recorded of it stays."""
    place, now = _place(store), datetime.now(UTC)
    named = [*map(place.store.get, record_ids or ())]
    if subject is not None:
        named += place.store.entries(subject=place.hashed(subject))
    ids = [entry.id for entry in named if entry.held]
    if expired:
        ids += over(place.store, now=now, days=place.settings.retention_days)
    ids = list(dict.fromkeys(ids))
    with place.log() as log:
        for draft in erasures(ids, now=now, reason=reason, by=_who(), new_id=_new_id):
            log.append_now(draft)
    typer.echo(f"the contents of {len(ids)} records were erased")


@audit.command("key")
def key_command() -> None:
    """Print the public key that verifies the checkpoints, making the key at the first use."""
    typer.echo(load_key(_place(None).settings.audit_key).public)


def _draft(kind: str, facts: dict[str, object]) -> Draft:
    return Draft(_new_id(), datetime.now(UTC).isoformat(), kind, facts)


def _who() -> str:
    return f"command:{getpass.getuser()}"


def _new_id() -> str:
    return str(uuid.uuid4())
