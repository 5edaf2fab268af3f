"""Access tokens of an identity provider (OpenID Connect, OAuth 2.0), verified by its published keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.access.errors import Unauthenticated
from serving.access.key_set import KeySource
from serving.access.principal import AccessScope, CredentialKind, Principal
from serving.access.signed_token import claims_of, header_of, name_in

ALGORITHMS = frozenset({"RS256", "RS384", "ES256", "ES384", "EdDSA"})
TYPES = frozenset({None, "JWT", "AT+JWT"})
SCOPES: Mapping[str, AccessScope] = {scope.value: scope for scope in AccessScope}


@dataclass(frozen=True)
class IdentityProvider:
    """The identity provider: its ``iss``, the ``aud`` that stands for this service, its key set's URL."""

    issuer: str
    audience: str
    jwks: str


class OidcVerifier:
    """Verifies tokens of one identity provider."""

    def __init__(self, issuer: IdentityProvider, keys: KeySource) -> None:
        self._issuer = issuer
        self._keys = keys

    async def verify(self, token: bytes) -> Principal:
        """Return whose token it is: its client, or else its subject.

        Raises:
            Unauthenticated: when anything about it is wrong.
            AccessUnavailable: when the provider's keys cannot be had.

        """
        header = header_of(token, algorithms=ALGORITHMS, types=TYPES)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise Unauthenticated
        key = await self._keys.find(kid, header["alg"])
        claims = claims_of(token, key, issuer=self._issuer.issuer, audience=self._issuer.audience)
        return Principal(name_in(claims, "client_id", "azp", "sub"), scopes_in(claims), CredentialKind.TOKEN)


def scopes_in(claims: Mapping[str, Any]) -> frozenset[AccessScope]:
    """Return this service's scopes among the claims ``scope`` or ``scp``: a text with blanks, or a list.

    >>> sorted(scopes_in({"scope": "openid predict audit:read"}))
    [<AccessScope.AUDIT_READ: 'audit:read'>, <AccessScope.PREDICT: 'predict'>]
    """
    claim = claims.get("scope", claims.get("scp", ""))
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(SCOPES[name] for name in names if isinstance(name, str) and name in SCOPES)
