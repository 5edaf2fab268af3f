"""The shelf: bundles published for serving, one folder a version, and which of them is the champion.

    <root>/<model>/<version>/          the bundle's files
    <root>/<model>/<version>.sig       the publisher's signature of name, version and manifest
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
from models.bundle.manifest import bundle_hash, read_manifest
from models.bundle.signature import Keys, verify

CHAMPION = "champion.json"
SIGNATURE = ".sig"
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
    """A folder of published bundles; without ``keys``, they lie in the folder that the shelf is in."""

    root: Path
    keys: Keys | None = None

    def publish(self, name: str, version: str, bundle: Path) -> Shelved:
        """Copy a bundle onto the shelf and sign it; publishing the same bundle again changes nothing.

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
            return self._signed(_same(shelved))
        arriving = self.root / name / f".arriving-{uuid.uuid4().hex}"
        shutil.copytree(bundle, arriving)
        for path in (*arriving.iterdir(), arriving):
            _sync(path)
        try:
            arriving.rename(place)
        except OSError:  # another publisher was faster
            shutil.rmtree(arriving)
            return self._signed(_same(shelved))
        return self._signed(shelved)

    def promote(self, name: str, version: str) -> Shelved:
        """Make a published version the champion, in one step that a reader never sees half done.

        Raises:
            NotFound: when it is not on the shelf.
            BundleRefused: when no trusted key signed it.

        """
        shelved = self.find(name, version)
        self.require_signed(shelved)
        _write(self.root / name / CHAMPION, canonical_json({"version": version, "bundle": shelved.bundle}))
        return shelved

    def require_signed(self, shelved: Shelved) -> None:
        """Check that a trusted key signed a version's manifest for it, and that it is the one published.

        Raises:
            BundleRefused: when it is not.

        """
        manifest = read_manifest(shelved.folder, expected_hash=shelved.bundle)
        name = f"{shelved.name} {shelved.version}"
        try:
            signature = _signature(shelved).read_bytes()
        except OSError as error:
            remedy = f"run on the training host: salvage models promote {name}"
            raise BundleRefused(f"{name}: it is not signed; {remedy}") from error
        verify(_stated(shelved, manifest), signature, trusted=self._keys.trusted_keys(), name=name)

    def names(self) -> tuple[str, ...]:
        """Return the models that have a champion."""
        if not self.root.is_dir():
            return ()
        return tuple(
            sorted(p.name for p in self.root.iterdir() if NAME.fullmatch(p.name) and (p / CHAMPION).is_file())
        )

    def pointer(self, name: str) -> Path:
        """Return the file that names a model's champion; each promotion puts another in its place."""
        return self.root / name / CHAMPION

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

    @property
    def _keys(self) -> Keys:
        return self.keys or Keys.from_environment({}, home=self.root.parent)

    def _signed(self, shelved: Shelved) -> Shelved:
        stated = _stated(shelved, read_manifest(shelved.folder))
        _write(_signature(shelved), self._keys.sign(stated))
        return shelved

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


def _stated(shelved: Shelved, manifest: bytes) -> bytes:
    """Return what is signed: a manifest, and which model's which version it is of."""
    return f"{shelved.name} {shelved.version}\n".encode() + manifest


def _signature(shelved: Shelved) -> Path:
    return shelved.folder.with_name(f"{shelved.version}{SIGNATURE}")


def _write(place: Path, content: bytes) -> None:
    """Write a file in one step, durably."""
    arriving = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    arriving.write_bytes(content)
    _sync(arriving)
    arriving.replace(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
