"""A request for inference taken apart, and an answer put together: JSON, with raw tensors behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi.responses import Response

from features.errors import InvalidRequest, Problem
from serving.contract import parse_object
from serving.inference.served_endpoint import OUTPUTS, ServedEndpoint
from serving.inference.tensors import BINARY, InputTensor, OutputTensor, read_inputs

HEADER = "Inference-Header-Content-Length"
ALL_BINARY = "binary_data_output"
JSON, OCTETS = "application/json", "application/octet-stream"
LONGEST_ID = 200


@dataclass(frozen=True)
class InferenceRequest:
    """What a request asks: its id, the input tensors, and the outputs wanted, each in binary or not."""

    id: str | None
    tensors: list[InputTensor]
    wanted: Mapping[str, bool]


def read_request(body: bytes, json_bytes: str | None, *, most_rows: int) -> InferenceRequest:
    """Return what a request asks; ``json_bytes`` is how much of the body is JSON, all of it where None.

    Raises:
        InvalidRequest: naming everything that cannot be accepted.

    """
    size = _json_size(json_bytes, len(body))
    document = parse_object(body[:size])
    problems = [*_problems(document)]
    if problems:
        raise InvalidRequest("request", problems)
    return InferenceRequest(
        document.get("id"),
        read_inputs(document, body[size:], most_rows=most_rows),
        _wanted(document),
    )


def _json_size(stated: str | None, length: int) -> int:
    if stated is None:
        return length
    if not stated.isascii() or not stated.isdecimal() or len(stated) > 12 or int(stated) > length:
        raise InvalidRequest(
            "request", [Problem(HEADER, "is no length", "give the length of the JSON in bytes")]
        )
    return int(stated)


def _problems(document: Mapping[str, Any]) -> list[Problem]:
    problems = []
    name, parameters, outputs = (document.get(n) for n in ("id", "parameters", "outputs"))
    if name is not None and not (isinstance(name, str) and len(name) <= LONGEST_ID):
        problems.append(Problem("id", "is no text, or too long", f"expected at most {LONGEST_ID} characters"))
    if parameters is not None and not isinstance(parameters, dict):
        problems.append(Problem("parameters", "are no object", "leave them out"))
    if outputs is None:
        return problems
    listed = outputs if isinstance(outputs, list) else [None]
    named = [one for one in listed if isinstance(one, dict) and one.get("name") in OUTPUTS]
    if len(named) < len(listed):
        problems.append(Problem("outputs", "are none of this model", "expected " + ", ".join(OUTPUTS)))
    elif not all(isinstance(one.get("parameters", {}), dict) for one in named):
        problems.append(Problem("outputs", "have parameters that are no object", "leave them out"))
    return problems


def _wanted(document: Mapping[str, Any]) -> dict[str, bool]:
    """Return the outputs wanted, all of them where none is named."""
    always = (document.get("parameters") or {}).get(ALL_BINARY) is True
    if not document.get("outputs"):
        return dict.fromkeys(OUTPUTS, always)
    return {one["name"]: one.get("parameters", {}).get(BINARY, always) is True for one in document["outputs"]}


def respond(
    model: ServedEndpoint, asked: InferenceRequest, outputs: Sequence[OutputTensor], notice: str
) -> Response:
    """Return the answer with the outputs wanted, in their order; raw tensors stand behind the JSON."""
    by_name = {output.name: output for output in outputs}
    heads, raw = [], b""
    for name, binary in asked.wanted.items():
        if binary:
            head, piece = by_name[name].as_binary()
            raw += piece
        else:
            head = by_name[name].as_json()
        heads.append(head)
    stamp = model.champion.stamp
    said: dict[str, Any] = {
        "model_name": model.name,
        "model_version": stamp.version,
        "parameters": {"evidence": stamp.evidence, "bundle": stamp.bundle, "notice": notice},
        "outputs": heads,
    }
    if asked.id is not None:
        said["id"] = asked.id
    head_json = orjson.dumps(said)
    if not any(asked.wanted.values()):
        return Response(head_json, media_type=JSON)
    return Response(head_json + raw, headers={HEADER: str(len(head_json))}, media_type=OCTETS)
