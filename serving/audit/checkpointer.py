"""The checkpointer: signs checkpoints of the record as it grows."""

import logging
import threading
from contextlib import suppress

from features.errors import RecordNotWritten
from serving.audit.checkpoint import Checkpoint, CheckpointFile, sign
from serving.audit.merkle import Frontier
from serving.audit.note import PrivateKey
from serving.audit.store import LogStore

EVERY_SECONDS = 10.0
EVERY_ENTRIES = 1000
PAGE = 10_000
PATIENCE_SECONDS = 15.0
ROLLED_BACK = "the record is shorter than the last signed checkpoint; restore the newest backup"
FORKED = "the record is not the one that was signed; run: salvage audit verify"
STRANGER = "the last checkpoint was signed by another key; give back the key or the checkpoints' file"

logger = logging.getLogger(__name__)


class Checkpointer:
    """Signs a checkpoint when the record has grown, some seconds or entries after the last and at the end.

    It keeps the frontier of the tree it signed last and lets the stored leaf hashes grow it, so what it signs
    continues what it signed by construction. While the store does not, :meth:`allowed` refuses entries.
    """

    def __init__(
        self,
        store: LogStore,
        key: PrivateKey,
        file: CheckpointFile,
        *,
        every_seconds: float = EVERY_SECONDS,
        every_entries: int = EVERY_ENTRIES,
    ) -> None:
        self._store = store
        self._key = key
        self._file = file
        self._every_seconds = every_seconds
        self._every_entries = every_entries
        self._followed: Frontier | None = None
        self._trouble: str | None = None
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._closing = False
        self._refuse_a_shorter_record()
        self._thread = threading.Thread(target=self._run, name="audit-checkpointer", daemon=True)
        self._thread.start()

    def allowed(self) -> None:
        """Raise RecordNotWritten while the store is not the record that was signed."""
        if self._trouble is not None:
            raise RecordNotWritten(self._trouble)

    def grown(self, size: int) -> None:
        """Learn the record's size; sign soon when many entries were added since the last checkpoint."""
        followed = self._followed
        if followed is not None and size - followed.size >= self._every_entries:
            self._due.set()

    def write(self) -> Checkpoint | None:
        """Sign the record as it is now, and return its newest checkpoint; None for an empty record.

        Raises:
            RecordNotWritten: when the record is not the one that was signed, or store or file fail.

        """
        with self._lock:
            last = self._file.last()
            tree = self._follow(last)
            if tree.size > (last.size if last else 0):
                last = sign(tree, self._key)
                self._file.append(last)
            self._followed, self._trouble = tree, None
            return last

    def close(self) -> None:
        """Sign a last time, unless the store hangs."""
        self._closing = True
        self._due.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self.write()
            except RecordNotWritten as error:
                logger.error("no checkpoint was signed: %s", error)
            if self._closing:
                return
            self._due.wait(self._every_seconds)
            self._due.clear()

    def _follow(self, last: Checkpoint | None) -> Frontier:
        """Return the tree over the record; refuse a record that does not continue the last checkpoint."""
        if last is not None and not last.signed_by(self._key.public):
            self._refuse(STRANGER)
        tree = self._followed
        if tree is None or tree.size > (last.size if last else 0):
            tree = Frontier()
        if last is not None:
            tree = self._grown(tree, last.size)
            if tree.root != last.root:
                self._refuse(FORKED)
        head = self._store.head()
        tree = self._grown(tree, head.size)
        if tree.root.hex() != head.root_hash:
            self._refuse(FORKED)
        return tree

    def _grown(self, tree: Frontier, size: int) -> Frontier:
        if size < tree.size:
            self._refuse(ROLLED_BACK)
        while tree.size < size:
            leaves = self._store.leaves(tree.size, min(size, tree.size + PAGE))
            if not leaves:
                self._refuse(ROLLED_BACK)
            tree = tree.grown(leaves)
        return tree

    def _refuse(self, trouble: str) -> None:
        self._followed, self._trouble = None, trouble
        raise RecordNotWritten(trouble)

    def _refuse_a_shorter_record(self) -> None:
        """Refuse entries from the start where an old copy or a new file stands in the record's place."""
        with suppress(RecordNotWritten):
            last = self._file.last()
            if last is not None and self._store.head().size < last.size:
                self._trouble = ROLLED_BACK
