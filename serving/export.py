"""The command that exports the audit log: as JSON Lines, or as FHIR resources."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated

import orjson
import typer

from serving.audit.deployed import DeployedLog, StoreOption, SubjectOption
from serving.audit.export import json_lines
from serving.audit.record import LogEntry
from serving.fhir.export import fhir_resources_of


class ExportFormat(StrEnum):
    """What a line of the export is: a record, or a FHIR resource made of one."""

    JSONL = "jsonl"
    FHIR = "fhir"


def export(
    store: StoreOption = None,
    after: Annotated[int, typer.Option(help="Only records after this number.")] = 0,
    kind: Annotated[str | None, typer.Option(help="Only records of this kind.")] = None,
    subject: SubjectOption = None,
    contents: Annotated[
        bool, typer.Option("--contents", help="With the patients' values; that they were read is recorded.")
    ] = False,
    form: Annotated[
        ExportFormat, typer.Option("--format", help="JSON Lines, or FHIR resources a line.")
    ] = ExportFormat.JSONL,
) -> None:
    """Write the record to standard output, one record a line."""
    log = DeployedLog.at(store)
    if contents:
        log.record_reading({"after": after, "kind": kind})
    entries = log.store.entries(after=after, kind=kind, subject=log.hashed(subject))
    lines = _fhir_lines(entries) if form is ExportFormat.FHIR else json_lines(entries, contents=contents)
    for line in lines:
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _fhir_lines(entries: Iterable[LogEntry]) -> Iterator[bytes]:
    return (orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in fhir_resources_of(entries))
