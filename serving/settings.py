"""Where the server runs and writes: read once from the environment at the entry point."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServingSettings:
    """Deployment settings; everything clinical travels in the bundle.

    ``SALVAGE_HOME`` holds the shelf of published bundles and the audit store; ``SALVAGE_HOST`` and
    ``SALVAGE_PORT`` are where the server listens; ``SALVAGE_LARGEST_BODY`` is in bytes.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000
    largest_body: int = 65536

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ServingSettings":
        """Read the settings."""
        return cls(
            home=Path(environ.get("SALVAGE_HOME", "var")).absolute(),
            host=environ.get("SALVAGE_HOST", cls.host),
            port=int(environ.get("SALVAGE_PORT", cls.port)),
            largest_body=int(environ.get("SALVAGE_LARGEST_BODY", cls.largest_body)),
        )

    @property
    def shelf(self) -> Path:
        """Return the folder of the published bundles."""
        return self.home / "shelf"

    @property
    def audit(self) -> Path:
        """Return the file of the audit store."""
        return self.home / "audit.db"
