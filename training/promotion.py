"""Promotion by hand: from the registry to the shelf, then the alias."""

import tempfile
from pathlib import Path

from models.bundle.shelf import Shelf
from models.registry.settings import RegistrySettings
from models.registry.store import Registry


def promote_version(name: str, version: str, *, settings: RegistrySettings) -> None:
    """Publish a version as the registry holds it, and make it champion in both places.

    Raises:
        NotFound: when there is no such version.
        BundleRefused: when what the registry holds is no bundle, or another one is published already.

    """
    registry, shelf = Registry.open(settings), Shelf(settings.shelf, settings.keys)
    with tempfile.TemporaryDirectory() as scratch:
        shelf.publish(name, version, registry.download(name, version, Path(scratch)))
    registry.promote(name, version)
    shelf.promote(name, version)
