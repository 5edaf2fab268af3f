"""The recorder: appends drafts with new ids and the time to the audit log."""

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
    """The client of a request: its name, the request's id, and the Idempotency-Key where one was sent."""

    client: str
    request_id: str
    idempotency_key: IdempotencyKey | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts that name the client in the record."""
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
        """Record an event of the server, blocking."""
        return self.log.append_now(self.draft(kind, facts))


def recorder_of(log: AuditLog) -> Recorder:
    """Return a recorder with UTC time and random UUIDs."""
    return Recorder(log, now=lambda: datetime.now(UTC), new_id=lambda: str(uuid.uuid4()))
