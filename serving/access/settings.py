"""Access settings: credentials, rates and allowed outgoing addresses, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from features.errors import InvalidInput, Problem
from serving.access.addresses import AllowedAddresses, is_address
from serving.access.cds_clients import CdsClient
from serving.access.client_file import read_clients
from serving.access.loopback import is_loopback
from serving.access.tokens import IdentityProvider

KEYS, OFF = "keys", "off"
LOOPBACK = "127.0.0.1"
RATE = 6000
OIDC = ("SALVAGE_OIDC_ISSUER", "SALVAGE_OIDC_AUDIENCE", "SALVAGE_OIDC_JWKS")


@dataclass(frozen=True)
class AccessSettings:
    """Deployment settings of access.

    ``SALVAGE_ACCESS`` is ``keys``, or ``off`` for the demo: then the server must listen on loopback and
    ``SALVAGE_DEMO`` be 1. ``SALVAGE_ACCESS_STORE`` is the database of the keys, ``SALVAGE_RATE`` the requests
    a minute each client may make (0: any number). Tokens of an identity provider are accepted with
    ``SALVAGE_OIDC_ISSUER``, ``SALVAGE_OIDC_AUDIENCE`` and ``SALVAGE_OIDC_JWKS``, those of CDS clients with
    ``SALVAGE_CDS_CLIENTS``, a YAML or JSON file. ``SALVAGE_PUBLIC_URL`` is where clients reach the server;
    ``SALVAGE_ALLOWED_ADDRESSES`` are the addresses and private networks that the server may call.
    """

    home: Path
    store: str = field(repr=False)
    mode: str = KEYS
    demo: bool = False
    rate: int = RATE
    oidc: IdentityProvider | None = None
    cds_clients: tuple[CdsClient, ...] = ()
    public_url: str | None = None
    allowed: AllowedAddresses = field(default_factory=AllowedAddresses)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, home: Path, host: str) -> "AccessSettings":
        """Read the settings of a server that will listen on a host.

        Raises:
            InvalidInput: naming everything that is wrong.

        """
        problems: list[Problem] = []
        settings = cls(
            home=home,
            store=_store(environ, problems) or f"sqlite:///{home / 'access.db'}",
            mode=environ.get("SALVAGE_ACCESS", KEYS),
            demo=environ.get("SALVAGE_DEMO") == "1",
            rate=_rate(environ, problems),
            oidc=_issuer(environ, problems),
            cds_clients=_clients(environ, problems),
            public_url=_public_url(environ, problems),
            allowed=_allowed(environ, problems),
        )
        problems += settings.problems(host=host)
        if problems:
            raise InvalidInput("settings", problems)
        return settings

    @property
    def off(self) -> bool:
        """Tell whether everyone is let in."""
        return self.mode == OFF

    @property
    def subject_key(self) -> Path:
        """Return the file of the key that hashes patients' identifiers."""
        return self.home / "subject.key"

    def problems(self, *, host: str) -> list[Problem]:
        """Return what forbids to listen on a host with these settings."""
        if self.mode not in (KEYS, OFF):
            return [Problem("SALVAGE_ACCESS", f"is {self.mode}", f"set it to {KEYS}, or {OFF} in a demo")]
        if not self.off:
            return []
        problems = []
        if not self.demo:
            problems.append(Problem("SALVAGE_ACCESS", "is off outside the demo", "set it to keys"))
        if not is_loopback(host):
            remedy = "listen on 127.0.0.1, or set SALVAGE_ACCESS to keys"
            problems.append(
                Problem("SALVAGE_HOST", "others can reach this server, and access is off", remedy)
            )
        return problems


def _store(environ: Mapping[str, str], problems: list[Problem]) -> str | None:
    address = environ.get("SALVAGE_ACCESS_STORE") or None
    try:
        if address is not None:
            make_url(address).get_dialect()
    except (SQLAlchemyError, ImportError, ValueError):
        remedy = "expected postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE"
        problems.append(Problem("SALVAGE_ACCESS_STORE", "names no database that can be used", remedy))
    return address


def _rate(environ: Mapping[str, str], problems: list[Problem]) -> int:
    setting = environ.get("SALVAGE_RATE", str(RATE))
    if setting.isdecimal() and setting.isascii():
        return int(setting)
    problems.append(Problem("SALVAGE_RATE", "is not a whole number", "correct or unset it"))
    return RATE


def _issuer(environ: Mapping[str, str], problems: list[Problem]) -> IdentityProvider | None:
    values = [environ.get(name, "") for name in OIDC]
    if not any(values):
        return None
    problems += [
        Problem(name, "is missing", f"{', '.join(OIDC)} go together")
        for name, value in zip(OIDC, values, strict=True)
        if not value
    ]
    if values[2]:
        problems += _address_problems("SALVAGE_OIDC_JWKS", values[2])
    return IdentityProvider(*values)


def _allowed(environ: Mapping[str, str], problems: list[Problem]) -> AllowedAddresses:
    try:
        return AllowedAddresses.read(environ.get("SALVAGE_ALLOWED_ADDRESSES", ""))
    except InvalidInput as error:
        problems += [Problem("SALVAGE_ALLOWED_ADDRESSES", str(p.field), p.remedy) for p in error.problems]
        return AllowedAddresses()


def _public_url(environ: Mapping[str, str], problems: list[Problem]) -> str | None:
    address = environ.get("SALVAGE_PUBLIC_URL") or None
    if address is not None:
        problems += _address_problems("SALVAGE_PUBLIC_URL", address)
    return address


def _address_problems(name: str, address: str) -> list[Problem]:
    remedy = "expected https://HOST[:PORT]/PATH"
    return [] if is_address(address) else [Problem(name, "is no address", remedy)]


def _clients(environ: Mapping[str, str], problems: list[Problem]) -> tuple[CdsClient, ...]:
    setting = environ.get("SALVAGE_CDS_CLIENTS")
    if not setting:
        return ()
    try:
        return read_clients(Path(setting))
    except InvalidInput as error:
        problems += error.problems
        return ()
