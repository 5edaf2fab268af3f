"""Where tracking and registry live: read once from the environment at the entry point."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.bundle.signature import Keys

DEFAULT_HOME = "var"


@dataclass(frozen=True)
class RegistrySettings:
    """Deployment settings of the registry.

    ``SALVAGE_HOME`` holds the default SQLite store, artifacts and the shelf; ``MLFLOW_TRACKING_URI`` names a
    team's server instead; ``MLFLOW_RUN_ID`` is set by ``mlflow run`` and is then continued.
    ``SALVAGE_SIGNING_KEY`` and ``SALVAGE_TRUSTED_KEYS`` are the files of the keys that sign bundles.
    """

    home: Path
    tracking_uri: str
    run_id: str | None
    keys: Keys | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "RegistrySettings":
        """Read the settings."""
        home = Path(environ.get("SALVAGE_HOME", DEFAULT_HOME)).absolute()
        tracking_uri = environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        return cls(
            home, tracking_uri, environ.get("MLFLOW_RUN_ID"), Keys.from_environment(environ, home=home)
        )

    @property
    def artifacts(self) -> Path:
        """Return the folder of the default store's artifacts."""
        return self.home / "artifacts"

    @property
    def shelf(self) -> Path:
        """Return the folder of the published bundles."""
        return self.home / "shelf"
