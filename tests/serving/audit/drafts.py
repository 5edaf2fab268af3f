"""Drafts to put on record in the tests."""

import uuid
from typing import Any

from serving.audit.record import Draft, IdempotencyKey

AT = "2025-01-01T00:00:00+00:00"
AT_SECONDS = 1735689600
DAY = 86400


def draft(entry_id: str | None = None, **changes: Any) -> Draft:
    """Return a prediction's draft."""
    said: dict[str, Any] = {
        "kind": "prediction",
        "facts": {"model": "m"},
        "content": b'{"age": 57}',
        "at": AT,
    }
    return Draft(id=entry_id or str(uuid.uuid4()), **said | changes)


def same_request(key: str, fingerprint: str = "f", client: str = "c") -> IdempotencyKey:
    """Return a client's idempotency key."""
    return IdempotencyKey(client, key, fingerprint)
