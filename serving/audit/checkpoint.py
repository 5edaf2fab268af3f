"""Checkpoints: signed sizes and roots of the tree, kept where the store's administrator cannot rewrite them.

A checkpoint is a note of three lines (the log's name, the tree's size, its root in base64) and a signature.
Notes are appended to a file, each followed by a blank line, and synced.
Source: c2sp.org/tlog-checkpoint.
"""

import os
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from features.base64 import decoded
from features.errors import RecordNotWritten
from serving.audit.merkle import Frontier
from serving.audit.note import PrivateKey, PublicKey

NOTE = re.compile(
    r"(?P<text>(?P<origin>[^\n]+)\n(?P<size>0|[1-9]\d{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n\u2014 (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]+=*)\n\n"
)
KEY_ID_BYTES = 4
NOTE_LINES = 6
TAIL_BYTES = 8192


@dataclass(frozen=True)
class Checkpoint:
    """A signed note on the tree's size and root."""

    origin: str
    size: int
    root: bytes
    note: str

    def signed_by(self, key: PublicKey) -> bool:
        """Tell whether the key of this log signed it."""
        match = NOTE.fullmatch(self.note + "\n")
        if match is None or not match["name"] == self.origin == key.name:
            return False
        try:
            signature = decoded(match["signature"])
        except ValueError:
            return False
        return signature[:KEY_ID_BYTES] == key.id and key.verifies(match["text"], signature[KEY_ID_BYTES:])


def sign(tree: Frontier, key: PrivateKey) -> Checkpoint:
    """Return the checkpoint of a tree."""
    note = key.sign(f"{key.name}\n{tree.size}\n{b64encode(tree.root).decode()}\n")
    return Checkpoint(key.name, tree.size, tree.root, note)


class CheckpointFile:
    """A file of checkpoints apart from the store; each is synced to disk before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def last(self) -> Checkpoint | None:
        """Return the newest checkpoint.

        Raises:
            RecordNotWritten: when the file cannot be read, or ends in something else.

        """
        try:
            checkpoint, _ = self._end()
        except OSError as error:
            raise RecordNotWritten(f"the checkpoints cannot be read: {error}") from error
        return checkpoint

    def append(self, checkpoint: Checkpoint) -> None:
        """Append a checkpoint; it replaces a last one whose writing was cut short.

        Raises:
            RecordNotWritten: when it cannot be made durable.

        """
        try:
            with self._lock:
                _, whole = self._end()
                self._write(checkpoint.note + "\n", at=whole)
        except OSError as error:
            raise RecordNotWritten(f"the checkpoint cannot be written: {error}") from error

    def all(self) -> Iterator[Checkpoint | None]:
        """Yield every checkpoint, oldest first; None for text that is no checkpoint."""
        text = self._path.read_bytes().decode("utf-8", "surrogateescape") if self._path.exists() else ""
        at = 0
        for match in NOTE.finditer(text):
            if match.start() != at:
                yield None
            at = match.end()
            yield _checkpoint(match)
        if at != len(text):
            yield None

    def _end(self) -> tuple[Checkpoint | None, int]:
        """Return the last whole checkpoint and where it ends."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == 0:
            return None, 0
        start = max(0, size - TAIL_BYTES)
        with self._path.open("rb") as file:
            file.seek(start)
            tail = file.read().decode("utf-8", "surrogateescape")
        matches = list(NOTE.finditer(tail))
        if not matches:
            if start == 0 and tail.count("\n") < NOTE_LINES:
                return None, 0  # the very first note was cut short
            raise RecordNotWritten(f"{self._path.name} holds something that is no checkpoint")
        return _checkpoint(matches[-1]), size - len(
            tail[matches[-1].end() :].encode("utf-8", "surrogateescape")
        )

    def _write(self, text: str, *, at: int) -> None:
        new = not self._path.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("r+b" if not new else "xb") as file:
            file.truncate(at)
            file.seek(at)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(self._path.parent)


def _checkpoint(match: re.Match[str]) -> Checkpoint:
    return Checkpoint(match["origin"], int(match["size"]), b64decode(match["root"]), match[0][:-1])


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new file's name is durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
