"""Reading FHIR files: JSON, NDJSON, or a folder of them, as resources; faults are named by file and line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from features.sources.fhir.element import Element
from features.sources.fhir.findings import Findings

WHOLE, LINES = (".json",), (".ndjson", ".jsonl")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FhirDocument:
    """One resource; ``source`` is its file, with the line number in NDJSON."""

    resource: Element
    source: str


def read_documents(path: Path, findings: Findings) -> Iterator[FhirDocument]:
    """Yield the resources of a file, or of every JSON and NDJSON file of a folder, in the order of names."""
    for file in _files(path, findings):
        try:
            content = file.read_bytes().removeprefix(BYTE_ORDER_MARK)
        except OSError:
            findings.wrong(file.name, "cannot be read", "check its permissions")
            continue
        if file.suffix in LINES:
            yield from _lines(content, file.name, findings)
        else:
            yield from _document(content, file.name, findings)


def _files(path: Path, findings: Findings) -> list[Path]:
    if path.is_dir():
        listed = sorted(f for f in path.iterdir() if f.is_file())
        files = [f for f in listed if f.suffix in WHOLE + LINES]
        for _ in range(len(listed) - len(files)):
            findings.note("a file of the folder that is neither JSON nor NDJSON is not read")
        if not files:
            findings.wrong(path.name, "holds no FHIR", "put .json or .ndjson files into the folder")
        return files
    if not path.is_file():
        findings.wrong(path.name, "does not exist", "check the path")
    elif path.suffix not in WHOLE + LINES:
        findings.wrong(path.name, "is of an unknown kind", "give a .json or .ndjson file, or a folder")
    else:
        return [path]
    return []


def _lines(content: bytes, name: str, findings: Findings) -> Iterator[FhirDocument]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield from _document(line, f"{name} line {number}", findings)


def _document(content: bytes, source: str, findings: Findings) -> Iterator[FhirDocument]:
    try:
        resource = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        findings.wrong(
            source, f"is not JSON (character {error.pos})", "expected one whole resource; export it again"
        )
        return
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        findings.wrong(source, "is no FHIR resource", "expected an object with resourceType")
        return
    yield FhirDocument(resource, source)
