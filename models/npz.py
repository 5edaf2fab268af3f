"""Arrays from a file that nobody vouches for: the npz format, read without pickle and within bounds."""

import io
import tokenize
import zipfile
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_ARRAYS = 100
LONGEST_HEADER = 10_000
SUFFIX = ".npy"
MALFORMED = (
    zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OverflowError, MemoryError,
    SyntaxError, tokenize.TokenError,
)  # fmt: skip


def read_arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz file as numpy.savez writes it, stored without compression.

    Nothing is larger in memory than in the file.

    Raises:
        ValueError: when it is no such file, holds objects, or states other shapes than it has content for.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = file.infolist()
            names = [member.filename.removesuffix(SUFFIX) for member in members]
            if len(members) > MOST_ARRAYS or len(set(names)) < len(names):
                raise ValueError("arrays are too many, or of the same name")
            return {
                name: _read(file, member, most=len(content))
                for name, member in zip(names, members, strict=True)
            }
    except MALFORMED as error:
        raise ValueError(f"no file of arrays: {error}") from error


def _read(file: zipfile.ZipFile, member: zipfile.ZipInfo, *, most: int) -> npt.NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > most:
        raise ValueError(f"{member.filename}: is compressed, or larger than its file")
    with file.open(member) as opened:
        content = opened.read()
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"{member.filename}: unknown version {version}")
    shape, _, dtype = read[version](stream, max_header_size=LONGEST_HEADER)
    if dtype.hasobject:
        raise ValueError(f"{member.filename}: objects are not read, as with allow_pickle=False")
    if prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{member.filename}: states a shape of {shape} that its content is not of")
    stream.seek(0)
    array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
