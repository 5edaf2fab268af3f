"""Verification of a whole record: everything that is not as it was written.

Every entry's body, columns, hash and commitment, the tree, the idempotency keys, the database's own
structure, and every checkpoint that was signed: a record that was changed, cut off or put back is found, and
the first bad entry is named. A damaged file is an answer here, not an error.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from serving.audit.batch import ERASED, Row, repeat_hash
from serving.audit.checkpoint import Checkpoint, CheckpointFile
from serving.audit.merkle import Frontier, leaf_hash
from serving.audit.note import PublicKey
from serving.audit.record import commit, unpacked
from serving.audit.sql_store import Statements
from serving.audit.sqlite import digest_file
from serving.audit.store import LogStore, make_store

MOST_FINDINGS = 100
BODY_KEYS = {"at", "commitment", "facts", "id", "kind", "seq", "subject"}
ENTRIES = (
    "SELECT e.seq, e.id, e.at, e.kind, e.body, e.leaf_hash, e.subject, c.salt, c.content "
    "FROM entries e LEFT JOIN contents c ON c.seq = e.seq ORDER BY e.seq"
)
STRAYS = "SELECT seq FROM contents WHERE seq NOT IN (SELECT seq FROM entries) ORDER BY seq"
REPEATS = "SELECT client, key, fingerprint, seq, lapses, row_hash FROM repeats"
HEAD = "SELECT one, size, peaks FROM head"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was written: in the entry with this number, or in the store as a whole."""

    problem: str
    seq: int | None = None


@dataclass(frozen=True)
class Verification:
    """The result: the record's size and root, the number of checkpoints compared, and the findings.

    Without checkpoints, a record that was cut off cleanly or put back as it once was cannot be told from one
    that was never longer.
    """

    size: int
    root_hash: str
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings

    @property
    def first_bad(self) -> int | None:
        """Return the number of the first bad entry, if an entry is bad."""
        return min((one.seq for one in self.findings if one.seq is not None), default=None)


def verify(
    address: str | Path, *, checkpoints: CheckpointFile | None = None, key: PublicKey | None = None
) -> Verification:
    """Verify the record at an address, live or copied, against the checkpoints that the key signed."""
    store = make_store(address)
    notes = list(checkpoints.all()) if checkpoints is not None else []
    findings = [*_digest(address), *_notes(notes, key)]
    reading = _VerifyingReader([note for note in notes if note is not None], store.failures)
    try:
        with store.snapshot() as run:
            findings += _guarded(store, (Finding(flaw) for flaw in store.flaws(run)))
            for check in (reading.entries, reading.erasures, reading.strays, reading.repeats, reading.head):
                findings += _guarded(store, check(run))
    except store.failures as error:
        findings.append(Finding(f"the store cannot be read: {error}"))
    findings += reading.beyond()
    tree = reading.tree
    return Verification(tree.size, tree.root.hex(), len(notes), tuple(findings[:MOST_FINDINGS]))


def _guarded(store: LogStore, check: Iterator[Finding]) -> list[Finding]:
    """Collect a check's findings; a database error ends it and is one of them."""
    findings: list[Finding] = []
    try:
        for finding in check:
            findings.append(finding)
            if len(findings) == MOST_FINDINGS:
                break
    except store.failures as error:
        findings.append(Finding(f"the store cannot be read: {error}"))
    return findings


def _digest(address: str | Path) -> Iterator[Finding]:
    """Compare a backup with the SHA-256 in the file beside it."""
    path = Path(address)
    beside = digest_file(path)
    if not beside.is_file():
        return
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if beside.read_bytes() != digest_line(path, digest).encode():
            yield Finding("the file is not the one whose SHA-256 is beside it")
    except OSError as error:
        yield Finding(f"the backup cannot be read: {error}")


def digest_line(path: Path, digest: str) -> str:
    """Return what ``sha256sum`` would write."""
    return f"{digest}  {path.name}\n"


def _notes(notes: Sequence[Checkpoint | None], key: PublicKey | None) -> Iterator[Finding]:
    """Check the checkpoints' signatures and order."""
    size = 0
    for number, note in enumerate(notes, start=1):
        if note is None:
            yield Finding("the checkpoints hold something that is none")
            continue
        if key is None:
            yield Finding("there is no key to check the checkpoints with")
            return
        if not note.signed_by(key):
            yield Finding(f"checkpoint {number} was not signed by {key.name}")
        if note.size <= size:
            yield Finding(f"checkpoint {number} is of a tree no larger than the one before")
        size = note.size


class _VerifyingReader:
    """Reads a record once, checking each entry; it keeps the tree, missing contents and recorded erasures."""

    def __init__(self, notes: Sequence[Checkpoint], failures: tuple[type[Exception], ...]) -> None:
        self._failures = failures
        self.tree = Frontier()
        self._signed: dict[int, set[bytes]] = {}
        for note in notes:
            self._signed.setdefault(note.size, set()).add(note.root)
        self._gone: dict[str, int] = {}
        self._erased: dict[str, int] = {}

    def entries(self, run: Statements) -> Iterator[Finding]:
        """Check every entry, and grow the tree by it."""
        rows = run.stream(ENTRIES)
        while True:
            try:
                row = next(rows, None)
            except self._failures as error:
                yield Finding(f"entry {self.tree.size + 1} cannot be read: {error}", self.tree.size + 1)
                return
            if row is None:
                return
            yield from self._entry(row)

    def _entry(self, row: Row) -> Iterator[Finding]:
        seq, entry_id, _, _, body, leaf, _, salt, stored = row
        expected = self.tree.size + 1
        if seq != expected:
            yield Finding(f"entry {expected} is missing; {seq} comes in its place", expected)
        try:
            parts = _parts(body)
            if problem := _disagreement(row, parts, expected):
                yield Finding(problem, expected)
            if parts["commitment"] is not None and stored is None:
                self._gone[entry_id] = expected
            elif problem := _broken_commitment(parts["commitment"], salt, stored):
                yield Finding(problem, expected)
            if parts["kind"] == ERASED:
                self._erased |= dict.fromkeys(parts["facts"]["ids"], expected)
        except (ValueError, TypeError, KeyError) as error:
            yield Finding(f"the body of entry {expected} is none: {error}", expected)
        if not isinstance(body, bytes) or leaf != leaf_hash(body).hex():
            yield Finding(f"entry {expected} does not have the hash it was written with", expected)
        yield from self._grow(body if isinstance(body, bytes) else b"")

    def _grow(self, body: bytes) -> Iterator[Finding]:
        self.tree = self.tree.grown([leaf_hash(body)])
        roots = self._signed.get(self.tree.size)
        if roots and roots != {self.tree.root}:
            yield Finding(
                f"the first {self.tree.size} entries are not those that were signed", self.tree.size
            )

    def erasures(self, run: Statements) -> Iterator[Finding]:
        """Check that contents are gone where an entry says so, and nowhere else."""
        for entry_id, seq in self._gone.items():
            if entry_id not in self._erased:
                yield Finding(f"the content of entry {seq} is missing, and no entry says it was erased", seq)
        for entry_id, seq in self._erased.items():
            if entry_id not in self._gone:
                yield Finding(f"entry {seq} says that a content was erased, and it was not", seq)

    def strays(self, run: Statements) -> Iterator[Finding]:
        """Report contents without an entry."""
        for (seq,) in run.stream(STRAYS):
            yield Finding(f"a content belongs to entry {seq}, which is not there")

    def repeats(self, run: Statements) -> Iterator[Finding]:
        """Check the idempotency keys, each against its own hash."""
        for *row, row_hash in run.stream(REPEATS):
            if not _kept(tuple(row), row_hash, self.tree.size):
                yield Finding("an idempotency key is not as it was written")

    def head(self, run: Statements) -> Iterator[Finding]:
        """Check the head against the tree that the entries make."""
        if run(HEAD) != [(1, self.tree.size, self.tree.to_bytes())]:
            yield Finding("the head is not that of the tree over the entries")

    def beyond(self) -> Iterator[Finding]:
        """Report checkpoints of a longer record than this one."""
        longest = max(self._signed, default=0)
        if longest > self.tree.size:
            yield Finding(
                f"a record of {longest} entries was signed, and it ends after {self.tree.size}",
                self.tree.size + 1,
            )


def _kept(row: Row, row_hash: object, size: int) -> bool:
    """Tell whether an idempotency key is as it was written, and of an entry that is there."""
    try:
        return repeat_hash(row) == row_hash and 0 < row[3] <= size
    except TypeError:
        return False


def _parts(body: object) -> dict[str, Any]:
    """Decode a body, and require its canonical encoding."""
    if not isinstance(body, bytes):
        raise TypeError("it is no bytes")
    parts = orjson.loads(body)
    if not isinstance(parts, dict) or set(parts) != BODY_KEYS or not isinstance(parts["facts"], dict):
        raise ValueError("it has other parts")
    if orjson.dumps(parts, option=orjson.OPT_SORT_KEYS) != body:
        raise ValueError("it is not written as bodies are")
    return parts


def _disagreement(row: Row, parts: dict[str, Any], expected: int) -> str | None:
    """Name the columns of an entry that differ from its body."""
    seq, entry_id, at, kind, _, _, subject, *_ = row
    columns = {"seq": seq, "id": entry_id, "at": at, "kind": kind, "subject": subject}
    wrong = [name for name, value in columns.items() if parts[name] != value]
    return f"in entry {expected}, {', '.join(wrong)} is not what the body says" if wrong else None


def _broken_commitment(commitment: object, salt: object, stored: object) -> str | None:
    """Return how a stored content contradicts its commitment, None where it does not."""
    if commitment is None:
        return None if stored is None and salt is None else "there is a content, and the entry has none"
    if not isinstance(salt, bytes) or not isinstance(stored, bytes):
        return "the content is no bytes"
    try:
        kept = commit(salt, unpacked(stored)) == commitment
    except ValueError:
        kept = False
    return None if kept else "the content is not the one committed to"
