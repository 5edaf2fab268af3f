"""What Schemathesis has to know of JSON Lines: SCHEMATHESIS_HOOKS names this module."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl")
def as_line(context: Any, value: Any) -> bytes:
    """Write a batch of one line."""
    return json.dumps(value).encode("utf-8", "surrogatepass") + b"\n"


@schemathesis.deserializer("application/jsonl")
def from_lines(context: Any, response: Any) -> Any:
    """Read an answer's first line, an empty line's where there is none."""
    lines = response.content.splitlines()
    return json.loads(lines[0]) if lines else {"line": 1}
