"""The audit log that the commands work on: this deployment's, or another store's."""

import getpass
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from serving.access.subjects import subject_hash, subject_key
from serving.audit.checkpoint import CheckpointFile
from serving.audit.record import Draft
from serving.audit.sequencer import Sequencer
from serving.audit.store import LogStore, make_store
from serving.settings import ServingSettings

READ = "read"
SubjectOption = Annotated[
    str | None, typer.Option("--subject", help="The patient's identifier, as sent with the requests.")
]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="Another store: a file, or postgresql://...")
]


@dataclass(frozen=True)
class DeployedLog:
    """The store at an address, with the keys, checkpoints and retention time of this deployment."""

    settings: ServingSettings
    address: str

    @classmethod
    def at(cls, address: str | None) -> "DeployedLog":
        """Return the log at an address, or this deployment's own, by the settings in the environment."""
        settings = ServingSettings.from_environment(os.environ)
        return cls(settings, address or settings.audit)

    @property
    def store(self) -> LogStore:
        """Return the store."""
        return make_store(self.address)

    @property
    def checkpoints(self) -> CheckpointFile:
        """Return the file of signed checkpoints, which lies apart from the store."""
        return CheckpointFile(self.settings.second_place)

    def hashed(self, subject: str | None) -> str | None:
        """Return the keyed hash under which the records of a patient's identifier stand."""
        return None if subject is None else subject_hash(subject_key(self.settings.who.subject_key), subject)

    @contextmanager
    def sequencer(self) -> Iterator[Sequencer]:
        """Open the log for writing; a server may be running."""
        opened = Sequencer(self.store)
        try:
            yield opened
        finally:
            opened.close()

    def record_reading(self, facts: Mapping[str, Any]) -> None:
        """Put on record that whoever runs the command reads contents, which are patients' values."""
        draft = Draft(new_id(), datetime.now(UTC).isoformat(), READ, {"client": operator()} | dict(facts))
        with self.sequencer() as log:
            log.append_now(draft)


def operator() -> str:
    """Return the user who runs a command, as the record names a client."""
    return f"command:{getpass.getuser()}"


def new_id() -> str:
    """Return a new record's id, a random UUID."""
    return str(uuid.uuid4())
