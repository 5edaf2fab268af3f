"""A bundle's manifest: the SHA-256 of each of its files; its own SHA-256 is the bundle's hash."""

import json
import re
from pathlib import Path

from features.errors import BundleRefused
from features.fingerprint import sha256

FORMAT = 6
LARGEST_FILE = 1 << 30
MANIFEST = "manifest.json"
PROTOCOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def bundle_hash(folder: Path) -> str:
    """Return a bundle's hash: the SHA-256 of its manifest."""
    return sha256((folder / MANIFEST).read_bytes())


def read_manifest(folder: Path, *, expected_hash: str | None = None) -> bytes:
    """Return a bundle's manifest, an object that states its files.

    Raises:
        BundleRefused: when it cannot be read, or has another hash than expected.

    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        dict(json.loads(manifest)["files"].items())
    except (AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is missing or unreadable; restore the bundle"
        ) from error
    if expected_hash is not None and sha256(manifest) != expected_hash:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is not the one that was registered; restore the bundle"
        )
    return manifest


def verified_files(folder: Path, expected_hash: str | None) -> dict[str, bytes]:
    """Read each file once; what is verified is what is used."""
    stated = json.loads(read_manifest(folder, expected_hash=expected_hash))
    declared: dict[str, str] = dict(stated["files"])
    if stated.get("format") != FORMAT:
        raise BundleRefused(
            f"{folder.name}: format {stated.get('format')} is not {FORMAT}; renew it with: "
            f"salvage fit --protocol {_protocol_name(folder)} --cohort FILE"
        )
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    files, faults = {}, [f"{name} is missing" for name in sorted(set(declared) - present)]
    for name in sorted(present & set(declared)):
        try:
            files[name] = _content(folder / name)
        except OSError:
            faults.append(f"{name} cannot be read")
    faults += [f"{name} does not belong to it" for name in sorted(present - set(declared))]
    faults += [f"{name} was changed" for name in sorted(files) if sha256(files[name]) != declared[name]]
    if faults:
        raise BundleRefused(f"{folder.name}: {', '.join(faults)}; restore the bundle")
    return files


def _protocol_name(folder: Path) -> str:
    """Return the name of the protocol that a bundle of any format was fitted for, fit to be typed."""
    try:
        name = json.loads(_content(folder / "protocol.json"))["name"]
        return name if PROTOCOL_NAME.fullmatch(name) else "NAME"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "NAME"


def _content(path: Path) -> bytes:
    """Return what is in a file; a device, a pipe or what is far too large is no file of a bundle."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise OSError(f"{path.name} is no file of a bundle")
    return path.read_bytes()
