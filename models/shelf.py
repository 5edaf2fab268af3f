"""The shelf: bundles published for serving, one folder a version, and which of them is the champion.

    <root>/<model>/<version>/          the bundle's files
    <root>/<model>/champion.json       {"version": ..., "bundle": hash}

Whatever serves reads this folder and nothing else; the registry publishes to it. A version is complete
before it can be seen (it is renamed into place) and is never changed afterwards.
"""

import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from features.errors import BundleRefused, NoChampion, NotFound
from features.fingerprint import canonical_json
from models.bundle import bundle_hash

CHAMPION = "champion.json"
NAME = re.compile(r"[a-z][a-z0-9-]{0,80}")
UNREADABLE = "{name}: champion.json cannot be read; run: salvage models promote {name} VERSION"
VERSION = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Shelved:
    """One published version."""

    name: str
    version: str
    bundle: str
    folder: Path


@dataclass(frozen=True)
class Shelf:
    """A folder of published bundles."""

    root: Path

    def publish(self, name: str, version: str, bundle: Path) -> Shelved:
        """Copy a bundle onto the shelf; publishing the same bundle again changes nothing.

        Raises:
            BundleRefused: when another bundle already stands under this version.

        """
        self._require_names(name, version)
        place = self.root / name / version
        try:
            shelved = Shelved(name, version, bundle_hash(bundle), place)
        except OSError as error:
            raise BundleRefused(f"{bundle.name} holds no bundle") from error
        if place.exists():
            return _same(shelved)
        arriving = self.root / name / f".arriving-{uuid.uuid4().hex}"
        shutil.copytree(bundle, arriving)
        for path in (*arriving.iterdir(), arriving):
            _sync(path)
        try:
            arriving.rename(place)
        except OSError:  # another publisher was faster
            shutil.rmtree(arriving)
            return _same(shelved)
        _sync(place.parent)
        return shelved

    def promote(self, name: str, version: str) -> Shelved:
        """Make a published version the champion, in one step that a reader never sees half done."""
        shelved = self.find(name, version)
        pointer = self.root / name / f".champion-{uuid.uuid4().hex}"
        pointer.write_bytes(canonical_json({"version": version, "bundle": shelved.bundle}))
        _sync(pointer)
        pointer.replace(self.root / name / CHAMPION)
        _sync(self.root / name)
        return shelved

    def names(self) -> tuple[str, ...]:
        """Return the models that have a champion."""
        if not self.root.is_dir():
            return ()
        return tuple(
            sorted(p.name for p in self.root.iterdir() if NAME.fullmatch(p.name) and (p / CHAMPION).is_file())
        )

    def champion(self, name: str) -> Shelved:
        """Return the champion of a model.

        Raises:
            NotFound: for a name that is not on the shelf.
            NoChampion: for a model of which no version was promoted.
            BundleRefused: when the pointer cannot be read.

        """
        if not NAME.fullmatch(name) or not (self.root / name).is_dir():
            raise NotFound(f"no model {name}")
        try:
            pointer = json.loads((self.root / name / CHAMPION).read_bytes())
        except FileNotFoundError:
            raise NoChampion(f"{name} has no champion; run: salvage models promote {name} VERSION") from None
        except (OSError, ValueError) as error:
            raise BundleRefused(UNREADABLE.format(name=name)) from error
        match pointer:
            case {"version": str(version), "bundle": str(bundle)} if VERSION.fullmatch(version):
                return Shelved(name, version, bundle, self.root / name / version)
        raise BundleRefused(UNREADABLE.format(name=name))

    def find(self, name: str, version: str) -> Shelved:
        """Return a published version.

        Raises:
            NotFound: when it is not on the shelf.

        """
        folder = self.root / name / version
        if not (NAME.fullmatch(name) and VERSION.fullmatch(version) and folder.is_dir()):
            raise NotFound(f"no version {version} of model {name} on the shelf")
        return Shelved(name, version, bundle_hash(folder), folder)

    def _require_names(self, name: str, version: str) -> None:
        if not (NAME.fullmatch(name) and VERSION.fullmatch(version)):
            raise NotFound(f"{name} {version} is not a model name and version")


def _same(shelved: Shelved) -> Shelved:
    """Return what stands on the shelf already, refusing another bundle under the same version."""
    if bundle_hash(shelved.folder) != shelved.bundle:
        raise BundleRefused(
            f"{shelved.name} {shelved.version} is already published with another bundle; register a new one"
        )
    return shelved


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
