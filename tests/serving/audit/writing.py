"""A group of processes that writes as a server does, until it is killed: run with an address and a folder.

The parent holds the sequencer; two workers append through its socket, eight callers each. What was
acknowledged is appended to a file of each worker's own, which survives the process.
"""

import asyncio
import os
import sys
import threading
import time
import uuid
from pathlib import Path

from features.errors import RecordNotWritten, TooBusy
from serving.audit.checkpoint import CheckpointFile
from serving.audit.checkpointer import Checkpointer
from serving.audit.note import load_key
from serving.audit.remote import RemoteSequencer, SequencerServer
from serving.audit.sequencer import Sequencer
from serving.audit.store import make_store
from tests.serving.audit.drafts import draft

WORKERS, CALLERS = 2, 8


def main(address: str, folder: Path) -> None:
    """Fork the workers, then hold the record for them."""
    path = folder / "record.socket"
    for _ in range(WORKERS):
        if os.fork() == 0:
            asyncio.run(work(RemoteSequencer(path, make_store(address)), folder))
    store = make_store(address)
    witness = Checkpointer(
        store, load_key(folder / "key"), CheckpointFile(folder / "checkpoints"), every_seconds=0.1
    )
    SequencerServer(Sequencer(store, witness=witness), path)
    threading.Event().wait()


async def work(log: RemoteSequencer, folder: Path) -> None:
    """Append for ever, and write down what was acknowledged."""
    acknowledged = os.open(folder / f"acknowledged-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def caller() -> None:
        while True:
            try:
                receipt = await log.append(draft(str(uuid.uuid4()), content=os.urandom(600)))
                said = (receipt.id, receipt.seq, receipt.leaf_hash, receipt.tree_size, receipt.root_hash)
                os.write(acknowledged, (" ".join(map(str, said)) + "\n").encode())
            except (RecordNotWritten, TooBusy):
                time.sleep(0.02)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
