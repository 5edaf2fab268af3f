"""Verification of signed tokens (JWT, RFC 7519) by the best current practices (RFC 8725)."""

from collections.abc import Collection, Mapping
from typing import Any

import jwt

from serving.access.errors import Unauthenticated

LEEWAY_SECONDS = 30
LONGEST_NAME = 200
MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


def header_of(
    token: bytes, *, algorithms: Collection[str], types: Collection[str | None]
) -> Mapping[str, Any]:
    """Return the header of a token, not verified yet.

    Raises:
        Unauthenticated: when it is no token, or of another algorithm or type.

    """
    try:
        header = jwt.get_unverified_header(token)
    except MALFORMED:
        raise Unauthenticated from None
    algorithm, kind = header.get("alg"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Unauthenticated
    if (kind is not None and not isinstance(kind, str)) or (kind and kind.upper()) not in types:
        raise Unauthenticated
    return header


def issuer_of(token: bytes) -> str:
    """Return a token's unverified issuer, which only selects the keys to verify with.

    Raises:
        Unauthenticated: when it does not say.

    """
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except MALFORMED:
        raise Unauthenticated from None
    if not isinstance(issuer, str):
        raise Unauthenticated
    return issuer


def claims_of(
    token: bytes, key: jwt.PyJWK | None, *, issuer: str, audience: str, required: Collection[str] = ()
) -> Mapping[str, Any]:
    """Return a token's claims, verified: signature, issuer, audience, and that its time is now.

    ``exp`` and ``iat`` must be there, beside what else is ``required``; ``nbf`` counts where it is there.

    Raises:
        Unauthenticated: when anything is missing or wrong.

    """
    if key is None:
        raise Unauthenticated
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "iat", "iss", "aud", *required],
                "enforce_minimum_key_length": True,
            },
        )
    except MALFORMED:
        raise Unauthenticated from None
    if not all(_is_number(claims.get(name, 0)) for name in ("exp", "iat", "nbf")):
        raise Unauthenticated
    return claims


def name_in(claims: Mapping[str, Any], *names: str) -> str:
    """Return the first of some claims that is present, as a printable name.

    Raises:
        Unauthenticated: when none is there, or it is no printable text of reasonable length.

    """
    claim = next((claims[name] for name in names if claims.get(name)), None)
    if not isinstance(claim, str) or len(claim) > LONGEST_NAME or not claim.isprintable():
        raise Unauthenticated
    return claim


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
