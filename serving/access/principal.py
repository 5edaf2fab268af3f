"""Who asks, and what they may ask for."""

from dataclasses import dataclass
from enum import StrEnum


class AccessScope(StrEnum):
    """What a key or a token allows."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    AUDIT_READ = "audit:read"


class CredentialKind(StrEnum):
    """How somebody showed who they are."""

    KEY = "key"
    TOKEN = "token"
    CDS_CLIENT = "cds-client"
    DEMO = "demo"


EVERY_SCOPE = frozenset(AccessScope)


@dataclass(frozen=True)
class Principal:
    """Somebody whose credentials were valid.

    ``name`` is unique only together with ``how``: a token's subject may be called like a key.
    """

    name: str
    scopes: frozenset[AccessScope]
    how: CredentialKind

    @property
    def client(self) -> str:
        """Return a name that nobody else has, for rates, idempotency keys and the record.

        >>> Principal("ward", EVERY_SCOPE, CredentialKind.KEY).client
        'key:ward'
        """
        return f"{self.how}:{self.name}"


DEMO = Principal("demo", EVERY_SCOPE, CredentialKind.DEMO)
