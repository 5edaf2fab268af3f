"""Nothing breaks the server: ``python -m tests.benchmarks.fuzz [--requests 100000] [--json]``.

Good requests of every route are spoiled at random (bytes, JSON values, names in paths, parameters, headers,
methods) and sent to a running server. Every answer is counted by its status; no 5xx may come but a documented
503, no request may stay without an answer, and the server's log may hold no exception.
"""

import argparse
import http.client
import json
import random
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.benchmarks.kills import deployed
from tests.contract.test_openapi import OPENAPI, OPERATIONS
from tests.lib.patients import BREAST
from tests.serving.cds.calls import VIEW, call
from tests.serving.client import MODEL
from tests.serving.fhir.charts import bundle, condition, nodes, patient, worsened
from tests.serving.inference.tensors import BREAST_ONLY, tensor
from tests.serving.processes import HOST, Server, memory_of, serving

POSTS = [(path, method) for path, method in OPERATIONS if method == "post"]
CLIENTS = 4
SHOWN = 10
STRANGE_NAMES = [
    "..", "../../etc/passwd", "%2e%2e%2f", "..%2f..%2faudit.db", "%00", "%ff%fe", "a" * 3000, ".",
    "%0d%0aX: y",
    "\u202e", "'; DROP TABLE entries;--", "{name}", "*", "~", "con", "\\..\\..", "%c0%ae%c0%ae/", "-1", "1e9",
]  # fmt: skip
STRANGE_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, -0.0, 1e308, 5e-324, float("nan"),
    float("inf"),
    "", " ", "a" * 5000, "\x00", "\ud800", "\u202eabc", "NaN", "1", "null", "true", "2020-13-45",
    "../../x", [],
    {}, [[]], [None], [{}], {"": None}, {"a": {"b": {}}}, [1, 2, 3], ["x"] * 300, -1e-9, "\U0001f9ec",
]  # fmt: skip
HUGE = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30, "1" * 400]
STRANGE_HEADERS = [
    ("Content-Type", "text/html"), ("Content-Type", "application/json; charset=utf-16"), ("Content-Type", ""),
    ("Content-Encoding", "gzip"), ("Accept", "image/png"), ("Idempotency-Key", ""), ("Idempotency-Key", "k"),
    ("Idempotency-Key", "x" * 300), ("X-Request-ID", "\u00e4\u00f6"), ("Authorization", "Bearer x"),
    ("Authorization", "Basic Og=="), ("Inference-Header-Content-Length", "7"), ("X-Forwarded-Proto", "https"),
    ("Inference-Header-Content-Length", "-1"), ("Inference-Header-Content-Length", "9" * 30), ("Range", "0-"),
    ("Expect", "100-continue"), ("Origin", "null"), ("Cookie", "a=b"), ("Host", "evil.example"),
    ("A", "b" * 9000),
    ("Upgrade", "websocket"), ("If-None-Match", "*"), ("X-HTTP-Method-Override", "DELETE"),
    ("Referer", "\x7f"),
]  # fmt: skip
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "LINK"]
NAMES = {"name": MODEL, "version": "1", "service_id": VIEW, "prediction_id": "1", "record_id": "1"}
CHART = bundle(patient(), condition(), worsened(), nodes())
GOOD: dict[str, Any] = {
    "/v1/predictions": {"patient": BREAST, "horizon": 24, "subject": "one"},
    "/v1/explanations": {"patient": BREAST, "horizons": [12, 24]},
    "/v1/comparisons": {"patient": BREAST, "plans": [{}, {"prior_chemotherapy": True}]},
    "/v1/batches": {"patient": BREAST},
    "/v1/fhir/predictions": CHART,
    "/cds-services/{service_id}": call(),
    "/cds-services/{service_id}/feedback": {
        "feedback": [{"card": "0" * 36, "outcome": "accepted", "outcomeTimestamp": "2024-01-01T00:00:00Z"}]
    },
}
TENSORS = {"id": "7", "inputs": [BREAST_ONLY, tensor("age", 50.0)], "outputs": [{"name": "probability"}]}


@dataclass
class Asked:
    """A request before it is bytes."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def sent(self) -> bytes:
        head = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(self.body)}"]
        head += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogatepass") + self.body


def good(chance: random.Random) -> Asked:
    """Return a request that would be answered, of a random route."""
    path, method = chance.choice(OPERATIONS if chance.random() < 0.5 else POSTS)
    names = NAMES | ({"name": f"{MODEL}.overall_survival"} if path.startswith("/v2") else {})
    body = b""
    if method == "post":
        document = GOOD.get(path, TENSORS)
        body = json.dumps(document).encode()
    parameters = OPENAPI["paths"][path][method].get("parameters", [])
    query = {p["name"]: "1" for p in parameters if p["in"] == "query" and chance.random() < 0.3}
    target = path.format(**names) + ("?" + "&".join(f"{n}={v}" for n, v in query.items()) if query else "")
    media_type = "application/jsonl" if path == "/v1/batches" else "application/json"
    return Asked(method.upper(), target, [("Content-Type", media_type)] if body else [], body)


def spoil_value(asked: Asked, chance: random.Random) -> None:
    """Put something else in the place of a random value, or a name in the place of another."""
    try:
        document = json.loads(asked.body)
    except (ValueError, RecursionError):
        return
    places = list(_places(document)) if isinstance(document, dict | list) else []
    if not places:
        return
    holder, key = chance.choice(places)
    kind = chance.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        holder[str(chance.choice(STRANGE_VALUES))[:100]] = holder.pop(key)
    elif kind == 1:
        del holder[key]
    else:
        holder[key] = chance.choice(STRANGE_VALUES)
    asked.body = json.dumps(document).encode("utf-8", "surrogatepass")


def _places(document: Any) -> Any:
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


def spoil_bytes(asked: Asked, chance: random.Random) -> None:
    """Change, drop or repeat a few bytes of the body."""
    body = bytearray(asked.body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        change = chance.randrange(4)
        if change == 0:
            body[at:at] = chance.randbytes(chance.randint(1, 8))
        elif change == 1:
            del body[at : at + chance.randint(1, 40)]
        elif change == 2:
            body[at:at] = body[: chance.randint(0, 200)]
        else:
            body[at : at + 1] = bytes([chance.randrange(256)])
    asked.body = bytes(body)


def spoil_nesting(asked: Asked, chance: random.Random) -> None:
    """Send something very deep, or very long."""
    depth = chance.choice([100, 1000, 20_000])
    start, end = chance.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'"x', b'"')])
    asked.body = start * depth + b"1" + end * (depth if chance.random() < 0.5 else 0)


def spoil_path(asked: Asked, chance: random.Random) -> None:
    """Put something strange in the place of a part of the path."""
    path, mark, query = asked.path.partition("?")
    parts = path.split("/")
    strange = chance.choice(STRANGE_NAMES)
    parts[chance.randrange(1, len(parts))] = strange if chance.random() < 0.5 else quote(strange, safe="")
    asked.path = ("/".join(parts) + mark + query).replace(" ", "%20")


def spoil_query(asked: Asked, chance: random.Random) -> None:
    names = ("after", "limit", "kind", "id", "size", "first", "second", "model", "horizon", "_id", "_count")
    value = quote(str(chance.choice(STRANGE_VALUES + HUGE))[:500].encode("utf-8", "surrogatepass"))
    asked.path += ("&" if "?" in asked.path else "?") + f"{chance.choice(names)}={value}"


def spoil_header(asked: Asked, chance: random.Random) -> None:
    asked.headers.append(chance.choice(STRANGE_HEADERS))


def spoil_method(asked: Asked, chance: random.Random) -> None:
    asked.method = chance.choice(METHODS)


SPOILERS: tuple[Callable[[Asked, random.Random], None], ...] = (
    spoil_value, spoil_value, spoil_value, spoil_value, spoil_bytes, spoil_bytes, spoil_nesting, spoil_path,
    spoil_query, spoil_header, spoil_header, spoil_method,
)  # fmt: skip


def spoiled(chance: random.Random) -> Asked:
    """Return a request with one to three things wrong with it; one in twenty is left as it is."""
    asked = good(chance)
    if chance.random() >= 0.05:
        for _ in range(chance.randint(1, 3)):
            chance.choice(SPOILERS)(asked, chance)
    return asked


@dataclass
class Seen:
    """What was answered: how often each status, and which requests broke something."""

    statuses: Counter[int] = field(default_factory=Counter)
    broke: list[str] = field(default_factory=list)
    unanswered: int = 0

    def add(self, other: "Seen") -> None:
        self.statuses += other.statuses
        self.broke += other.broke
        self.unanswered += other.unanswered


def ask(port: int, seed: int, requests: int) -> Seen:
    """Send requests over one connection after the other, and note what came."""
    chance, seen, connection = random.Random(seed), Seen(), None
    for _ in range(requests):
        asked = spoiled(chance)
        try:
            if connection is None:
                connection = socket.create_connection((HOST, port), timeout=60)
            status, stays = _exchange(connection, asked)
        except (OSError, http.client.HTTPException) as error:
            seen.unanswered += 1
            seen.broke.append(f"{error!r}: {asked.sent()[:300]!r}")
            stays = False
        else:
            seen.statuses[status] += 1
            if status >= 500:
                seen.broke.append(f"{status}: {asked.sent()[:1500]!r}")
        if not stays and connection is not None:
            connection.close()
            connection = None
    return seen


def _exchange(connection: socket.socket, asked: Asked) -> tuple[int, bool]:
    connection.sendall(asked.sent())
    answer = http.client.HTTPResponse(connection, method=asked.method)
    answer.begin()
    while answer.status == 100:
        answer.begin()
    answer.read()
    return answer.status, not answer.will_close


def fuzz(server: Server, *, requests: int, seed: int) -> dict[str, Any]:
    """Ask a server, and return what was seen."""
    for _ in range(20):
        server.ask().raise_for_status()
    before, seen, lock = memory_of(server.process.pid), Seen(), threading.Lock()

    def client(number: int) -> None:
        found = ask(server.port, seed * 1000 + number, requests // CLIENTS)
        with lock:
            seen.add(found)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "requests": sum(seen.statuses.values()) + seen.unanswered,
        "statuses": {str(status): seen.statuses[status] for status in sorted(seen.statuses)},
        "server_errors": sum(
            count for status, count in seen.statuses.items() if status >= 500 and status != 503
        ),
        "unavailable": seen.statuses[503],
        "unanswered": seen.unanswered,
        "exceptions_logged": sum("where" in line for line in server.logged()),
        "answers_afterwards": server.ask().status_code == 200,
        "memory_growth": round(memory_of(server.process.pid) / before - 1.0, 3),
        "broke": seen.broke[:SHOWN],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Spoil requests at random, and count what is answered.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving(deployed(Path(scratch)), judged=False) as server:
        found = fuzz(server, requests=given.requests, seed=given.seed)
    lines = [json.dumps(found)] if given.json else [f"{name}: {value}" for name, value in found.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
