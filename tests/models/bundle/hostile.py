"""A bundle changed by somebody who can write its files and its manifest alike, and that it is refused."""

import io
import json
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from features.errors import BundleRefused
from features.fingerprint import canonical_json, sha256
from models.bundle.manifest import MANIFEST
from models.bundle.reading import read_bundle
from models.npz import read_arrays

Array = npt.NDArray[Any]

OS = "overall_survival"
ENDPOINT, MODEL, BOOSTER, TREES, BACKGROUND, INTERVALS, BOUNDS = (
    f"{OS}.{name}"
    for name in (
        "endpoint.json", "model.json", "booster-0.json", "trees.npz", "background.npz", "intervals.json",
        "bounds.json",
    )
)  # fmt: skip
A_GIGABYTE = 1_000_000  # in kilobytes


def put(folder: Path, name: str, content: bytes | None) -> None:
    """Replace a file together with its hash in the manifest; None takes it out of both."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    if content is None:
        (folder / name).unlink()
        del manifest["files"][name]
    else:
        (folder / name).write_bytes(content)
        manifest["files"][name] = sha256(content)
    (folder / MANIFEST).write_bytes(canonical_json(manifest))


def put_nested(folder: Path, name: str, path: Sequence[str | int], value: object) -> None:
    """Replace one value of a JSON file."""
    document = inner = json.loads((folder / name).read_bytes())
    *way, last = path
    for step in way:
        inner = inner[step]
    inner[last] = value
    put(folder, name, json.dumps(document).encode())


def refuse(folder: Path) -> None:
    """Read a folder that must be refused, without taking a gigabyte for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleRefused, match="do not fit together"):
        read_bundle(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < A_GIGABYTE


def arrays_of(folder: Path, name: str = TREES) -> dict[str, Array]:
    """Return the arrays of an npz file."""
    return read_arrays((folder / name).read_bytes())


def packed(arrays: Mapping[str, Array], save: Any = np.savez) -> bytes:
    """Return arrays as an npz file."""
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def changed(array: Array, at: object, value: object) -> Array:
    """Return an array with another value in one place."""
    copy = array.copy()
    copy[at] = value
    return copy
