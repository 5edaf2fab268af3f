"""Encoding of tensors: JSON, or little-endian bytes after the JSON (binary tensor extension).

Source: Open Inference Protocol v2, inference_rest; Triton's binary tensor data extension.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.errors import InvalidRequest, Problem

BYTES, BOOL, FP64 = "BYTES", "BOOL", "FP64"
NUMERIC = {
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
DTYPES = NUMERIC | {BOOL: "?"}
DATATYPES = (*DTYPES, BYTES)
BINARY_SIZE, BINARY = "binary_data_size", "binary_data"
LENGTH = struct.Struct("<I")

Value = float | int | bool | str | None


@dataclass(frozen=True)
class InputTensor:
    """A named column of values; NaN, empty text and null are None."""

    name: str
    datatype: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of a response: ``values`` are row-major, NaN where there is no answer."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]

    def as_json(self) -> dict[str, Any]:
        """Return the tensor with its data; JSON has no NaN, so null stands for it."""
        data = [None if isinstance(v, float) and math.isnan(v) else v for v in self.values]
        return self._head() | {"data": data}

    def as_binary(self) -> tuple[dict[str, Any], bytes]:
        """Return the tensor's description and its raw bytes."""
        raw = _lengthened(self.values) if self.datatype == BYTES else self._raw()
        return self._head() | {"parameters": {BINARY_SIZE: len(raw)}}, raw

    def _head(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def _raw(self) -> bytes:
        return np.asarray(self.values, dtype=DTYPES[self.datatype]).tobytes()


def read_inputs(document: Mapping[str, Any], raw: bytes, *, most_rows: int) -> list[InputTensor]:
    """Return a request's input tensors; ``raw`` are the bytes behind its JSON.

    Raises:
        InvalidRequest: naming every tensor that is not what it says to be.

    """
    documents = document.get("inputs")
    if (
        not isinstance(documents, list)
        or not documents
        or not all(isinstance(one, dict) for one in documents)
    ):
        raise InvalidRequest("request", [Problem("inputs", "are missing", "give one tensor a predictor")])
    problems = [problem for one in documents for problem in _head_problems(one, most_rows)]
    if problems:
        raise InvalidRequest("request", problems)
    pieces, rest = _cut(documents, raw)
    tensors = []
    for one, piece in zip(documents, pieces, strict=True):
        values = _of_json(one["data"]) if piece is None else _of_bytes(one["datatype"], piece)
        problems += _data_problems(one, values)
        tensors.append(InputTensor(one["name"], one["datatype"], tuple(map(_known, values or []))))
    if rest:
        problems.append(Problem("body", "has bytes that belong to no tensor", f"say {BINARY_SIZE} of each"))
    if problems:
        raise InvalidRequest("request", problems)
    return tensors


def _head_problems(document: Mapping[str, Any], most_rows: int) -> Iterator[Problem]:
    name = document.get("name")
    where = name[:64] if isinstance(name, str) and name else "inputs"
    if where != name:
        yield Problem(where, "has no name, or too long a one", "name the predictor")
    if document.get("datatype") not in DATATYPES:
        yield Problem(where, "has an unknown datatype", "expected one of " + ", ".join(DATATYPES))
    if not _is_column(document.get("shape"), most_rows):
        yield Problem(
            where, "has a shape that is no column", f"expected [n] or [n, 1], n from 1 to {most_rows}"
        )
    if not isinstance(document.get("parameters", {}), dict):
        yield Problem(where, "has parameters that are no object", "leave them out")
    elif (size := document.get("parameters", {}).get(BINARY_SIZE)) is not None:
        if not _whole(size) or size < 0:
            yield Problem(where, f"has a wrong {BINARY_SIZE}", "give the number of its bytes")
        if "data" in document:
            yield Problem(where, f"has data beside {BINARY_SIZE}", "give one of them")
    elif not isinstance(document.get("data"), list):
        yield Problem(where, "has no data", "give a list, one value a row")


def _is_column(shape: object, most_rows: int) -> bool:
    if not isinstance(shape, list) or len(shape) not in (1, 2) or not all(map(_whole, shape)):
        return False
    return bool(1 <= shape[0] <= most_rows and shape[1:] in ([], [1]))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cut(documents: Sequence[Mapping[str, Any]], raw: bytes) -> tuple[list[bytes | None], bytes]:
    """Return each tensor's own bytes, None where its data are JSON, and what is left over."""
    pieces: list[bytes | None] = []
    for one in documents:
        size = one.get("parameters", {}).get(BINARY_SIZE)
        pieces.append(None if size is None else raw[:size])
        raw = raw if size is None else raw[size:]
    return pieces, raw


def _of_json(data: Sequence[Any]) -> list[Any]:
    """Return JSON data flat: one level of nesting is a column of rows of one."""
    return [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]


def _of_bytes(datatype: str, raw: bytes) -> list[Any] | None:
    """Return raw data as values, None where the bytes are not whole values."""
    if datatype == BYTES:
        return _texts(raw)
    dtype = np.dtype(DTYPES[datatype])
    if len(raw) % dtype.itemsize:
        return None
    values: list[Any] = np.frombuffer(raw, dtype=dtype).tolist()
    return values


def _texts(raw: bytes) -> list[Any] | None:
    texts, at = [], 0
    try:
        while at < len(raw):
            (length,) = LENGTH.unpack_from(raw, at)
            at += LENGTH.size
            if at + length > len(raw):
                return None
            texts.append(raw[at : at + length].decode())
            at += length
    except (struct.error, UnicodeDecodeError):
        return None
    return texts


def _lengthened(texts: Sequence[str]) -> bytes:
    return b"".join(LENGTH.pack(len(text)) + text for text in (one.encode() for one in texts))


def _data_problems(document: Mapping[str, Any], values: Sequence[Any] | None) -> Iterator[Problem]:
    name, rows = document["name"], document["shape"][0]
    if values is None or len(values) != rows:
        yield Problem(name, "has other data than its shape says", f"give {rows} values")
    elif not all(value is None or _fits(value, document["datatype"]) for value in values):
        yield Problem(
            name, f"holds values that are not {document['datatype']}", "give values of its datatype"
        )


def _fits(value: object, datatype: str) -> bool:
    if datatype == BYTES:
        return isinstance(value, str)
    if datatype == BOOL:
        return isinstance(value, bool)
    whole = datatype.startswith(("INT", "UINT"))
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def _known(value: Value) -> Value:
    """Return a value, None for NaN and empty text."""
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value
