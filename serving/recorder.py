"""The recorder: gives what happens its id and time, and puts it on record."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.audit.record import Draft, IdempotencyKey, Receipt
from serving.audit.sequencer import AuditLog
from serving.tracing import step


@dataclass(frozen=True)
class Caller:
    """Who asks: the client's name, the request's id, and the client's Idempotency-Key with what it asked."""

    client: str
    request_id: str
    idempotency_key: IdempotencyKey | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the record says of who asked."""
        return {"client": self.client, "request_id": self.request_id}


@dataclass(frozen=True)
class Recorder:
    """Puts drafts on record; ``now`` and ``new_id`` are given so that a test can fix them."""

    log: AuditLog
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def draft(
        self,
        kind: str,
        facts: Mapping[str, Any],
        *,
        content: bytes | None = None,
        subject: str | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> Draft:
        """Return a draft with a new id and the time."""
        return Draft(self.new_id(), self.now().isoformat(), kind, facts, content, subject, idempotency_key)

    async def record(self, draft: Draft) -> Receipt:
        """Put a draft on record; it is durable when this returns, or RecordNotWritten is raised."""
        with step("record"):
            return await self.log.append(draft)

    async def record_all(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Put drafts on record in one commit, all or none."""
        with step("record"):
            return await self.log.append_all(drafts) if drafts else []

    def event(self, kind: str, facts: Mapping[str, Any]) -> Receipt:
        """Put something that happened on record, blocking."""
        return self.log.append_now(self.draft(kind, facts))


def recorder_of(log: AuditLog) -> Recorder:
    """Return a recorder that tells the time in UTC and makes random ids."""
    return Recorder(log, now=lambda: datetime.now(UTC), new_id=lambda: str(uuid.uuid4()))
