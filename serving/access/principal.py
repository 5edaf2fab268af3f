"""Principals: authenticated clients, their scopes and the kind of their credentials."""

from dataclasses import dataclass
from enum import StrEnum


class AccessScope(StrEnum):
    """What a key or a token allows."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    AUDIT_READ = "audit:read"


class CredentialKind(StrEnum):
    """The kind of credentials that a principal authenticated with."""

    KEY = "key"
    TOKEN = "token"
    CDS_CLIENT = "cds-client"
    DEMO = "demo"


EVERY_SCOPE = frozenset(AccessScope)


@dataclass(frozen=True)
class Principal:
    """An authenticated client.

    ``name`` is unique only together with ``how``: a token's subject may be called like a key.
    """

    name: str
    scopes: frozenset[AccessScope]
    how: CredentialKind

    @property
    def client(self) -> str:
        """Return the unique name that rate limits, idempotency keys and the record use.

        >>> Principal("ward", EVERY_SCOPE, CredentialKind.KEY).client
        'key:ward'
        """
        return f"{self.how}:{self.name}"


DEMO = Principal("demo", EVERY_SCOPE, CredentialKind.DEMO)
