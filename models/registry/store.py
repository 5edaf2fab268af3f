"""The registry: numbered versions of each model, and the alias ``champion`` for the one that is served."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from features.errors import BundleRefused, NotFound
from models.bundle.manifest import MANIFEST
from models.registry.settings import RegistrySettings
from models.registry.tracking import connect

CHAMPION = "champion"


@dataclass(frozen=True)
class Version:
    """One registered version and the tags it was registered with."""

    name: str
    version: str
    champion: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """MLflow's model registry, spoken to in the project's words."""

    client: MlflowClient

    @classmethod
    def open(cls, settings: RegistrySettings) -> "Registry":
        """Connect to the settings' registry."""
        connect(settings)
        return cls(MlflowClient())

    def register(self, name: str, address: str, *, run_id: str, tags: Mapping[str, str]) -> str:
        """Register a logged bundle under the next version number and return it."""
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = address.removeprefix("models:/")
        made = self.client.create_model_version(
            name, address, run_id=run_id, tags=dict(tags), model_id=model_id
        )
        return str(made.version)

    def promote(self, name: str, version: str) -> None:
        """Give a version the alias ``champion``, taking it from the one before."""
        self._require(name, version)
        self.client.set_registered_model_alias(name, CHAMPION, version)

    def versions(self) -> list[Version]:
        """Return every version of every model, newest first."""
        versions = []
        for model in self.client.search_registered_models():
            champion = str(model.aliases.get(CHAMPION, ""))
            for entry in self.client.search_model_versions(f"name='{model.name}'"):
                version = str(entry.version)
                versions.append(Version(model.name, version, version == champion, dict(entry.tags)))
        return sorted(versions, key=lambda v: (v.name, -int(v.version)))

    def champion(self, name: str) -> str:
        """Return the champion's version.

        Raises:
            NotFound: when the model is unknown or nothing was promoted.

        """
        try:
            return str(self.client.get_model_version_by_alias(name, CHAMPION).version)
        except MlflowException as error:
            raise NotFound(f"no champion of {name} in the registry; run: salvage models list") from error

    def download(self, name: str, version: str, folder: Path) -> Path:
        """Fetch a version's bundle into a folder and return where its files lie.

        Raises:
            NotFound: when there is no such version.
            BundleRefused: when the version holds no bundle.

        """
        self._require(name, version)
        fetched = Path(download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(folder)))
        manifests = sorted(fetched.rglob(MANIFEST))
        if len(manifests) != 1:
            raise BundleRefused(
                f"{name} {version} in the registry holds no bundle; register it with salvage fit"
            )
        return manifests[0].parent

    def _require(self, name: str, version: str) -> None:
        try:
            self.client.get_model_version(name, version)
        except MlflowException as error:
            raise NotFound(
                f"no version {version} of {name} in the registry; run: salvage models list"
            ) from error
