"""Refusals of access. Their text never depends on what is wrong with the credentials."""

from collections.abc import Mapping

from features.errors import SalvageError

CHALLENGE: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Unauthenticated(SalvageError):
    """No valid credentials: 401 with :data:`CHALLENGE`. It takes no reason, so none can leak."""

    def __init__(self) -> None:
        super().__init__("valid credentials are needed: Authorization: Bearer KEY-OR-TOKEN")


class Forbidden(SalvageError):
    """Valid credentials that do not carry the scope: 403."""

    def __init__(self) -> None:
        super().__init__(
            "these credentials do not allow this; ask for a key or token with the scope it needs"
        )


class TooManyRequests(SalvageError):
    """More requests than the rate allows: 429; ``retry_after`` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__("more requests than are allowed; slow down, or ask for a higher rate")


class AccessUnavailable(SalvageError):
    """Credentials cannot be checked now, as the store does not answer: 503, and nobody is let in."""

    def __init__(self) -> None:
        super().__init__("credentials cannot be checked at the moment; try again")


class AddressRefused(SalvageError):
    """An address that may not be called, or that did not answer as it should."""
