"""The server's settings, read once from the environment at the entry point."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from features.errors import InvalidInput, Problem
from models.bundle.signature import Keys
from serving.access.settings import AccessSettings

DISTRIBUTION = "salvage-outcomes"
NUMBERS = {
    "port": "SALVAGE_PORT",
    "workers": "SALVAGE_WORKERS",
    "largest_body": "SALVAGE_LARGEST_BODY",
    "largest_batch": "SALVAGE_LARGEST_BATCH",
    "largest_chart": "SALVAGE_LARGEST_CHART",
    "most_requests": "SALVAGE_MOST_REQUESTS",
    "drain_seconds": "SALVAGE_DRAIN_SECONDS",
    "retention_days": "SALVAGE_RETENTION_DAYS",
}


@dataclass(frozen=True)
class ServingSettings:
    """Deployment settings; everything clinical travels in the bundle.

    ``largest_body`` is in bytes, of one request or of one line of a batch; ``largest_batch`` in lines;
    ``largest_chart`` in bytes, of a FHIR Bundle, a CDS call or a set of tensors;
    ``most_requests`` are answered at once by one worker, the others are refused. ``store`` is the address of
    the record: None is the file ``audit.db`` in ``home``. ``checkpoints`` is the second place, to which
    signed checkpoints are written; ``origins`` are the web origins whose pages may call. Without ``access``
    keys are needed and ``access.db`` in ``home`` holds them. ``keys`` are those that bundles are signed with
    and trusted by: without them, the ones in ``home``. ``traces`` is the collector that spans are sent to.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    largest_body: int = 65536
    largest_batch: int = 100_000
    largest_chart: int = 8_388_608
    most_requests: int = 256
    drain_seconds: int = 30
    retention_days: int = 3653
    store: str | None = None
    checkpoints: Path | None = None
    origins: tuple[str, ...] = ()
    access: AccessSettings | None = None
    keys: Keys | None = None
    traces: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ServingSettings":
        """Read the settings.

        Raises:
            InvalidInput: naming every setting that should be a whole number and is none.

        """
        stated = {name: environ[variable] for name, variable in NUMBERS.items() if variable in environ}
        wrong = [name for name, value in stated.items() if not value.isdecimal()]
        if wrong:
            remedy = "correct or unset it"
            problems = [Problem(NUMBERS[name], "is not a whole number", remedy) for name in wrong]
            raise InvalidInput("settings", problems)
        home = Path(environ.get("SALVAGE_HOME", "var")).absolute()
        host = environ.get("SALVAGE_HOST", cls.host)
        origins = environ.get("SALVAGE_ORIGINS", "")
        checkpoints = environ.get("SALVAGE_CHECKPOINTS")
        return cls(
            home=home,
            host=host,
            store=environ.get("SALVAGE_STORE"),
            checkpoints=None if checkpoints is None else Path(checkpoints).absolute(),
            origins=tuple(filter(None, (origin.strip() for origin in origins.split(",")))),
            keys=Keys.from_environment(environ, home=home),
            access=AccessSettings.from_environment(environ, home=home, host=host),
            traces=environ.get("SALVAGE_TRACES"),
            **{name: int(value) for name, value in stated.items()},
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Return the settings that are recorded at start: no secret, no address of a database."""
        plain = {name: getattr(self, name) for name in ("host", *NUMBERS)}
        kind = "postgresql" if "://" in self.audit else "sqlite"
        own = {"store": kind, "access": self.who.mode, "traced": self.traces is not None}
        return plain | own | {"version": metadata.version(DISTRIBUTION)}

    @property
    def shelf(self) -> Path:
        """Return the folder of the published bundles."""
        return self.home / "shelf"

    @property
    def audit(self) -> str:
        """Return the address of the audit store."""
        return self.store or str(self.home / "audit.db")

    @property
    def second_place(self) -> Path:
        """Return the file of signed checkpoints."""
        return self.checkpoints or self.home / "checkpoints"

    @property
    def audit_key(self) -> Path:
        """Return the file of the key that signs checkpoints."""
        return self.home / "audit.key"

    @property
    def public_url(self) -> str:
        """Return where clients reach the server."""
        return (self.who.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def who(self) -> AccessSettings:
        """Return the access settings, by default with keys in ``home``."""
        return self.access or AccessSettings(self.home, f"sqlite:///{self.home / 'access.db'}")
