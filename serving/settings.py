"""Where the server runs and writes: read once from the environment at the entry point."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import InvalidInput, Problem


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
        """Read the settings.

        Raises:
            InvalidInput: naming every setting that should be a whole number and is none.

        """
        numbers = ("SALVAGE_PORT", "SALVAGE_LARGEST_BODY")
        wrong = [name for name in numbers if not environ.get(name, "0").isdecimal()]
        if wrong:
            raise InvalidInput(
                "settings", [Problem(n, "is not a whole number", "correct or unset it") for n in wrong]
            )
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
