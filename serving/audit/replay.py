"""Replay: recompute a recorded answer from its stored request and model, and compare bit for bit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from features.errors import NotFound
from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from models.bundle.shelf import Shelf
from models.questions.comparison import compare
from models.questions.timeline import explain_over_time
from serving.audit.merkle import leaf_hash
from serving.audit.record import LogEntry, commit

Recompute = Callable[[ModelBundle, Mapping[str, Any]], object]


def _predict(bundle: ModelBundle, request: Mapping[str, Any]) -> object:
    return bundle.predict(
        bundle.validate(request["patient"], horizon=request["horizon"]), horizon=request["horizon"]
    )


RECOMPUTE: Mapping[str, Recompute] = {
    "prediction": _predict,
    "explanations": lambda bundle, request: explain_over_time(
        bundle, request["patient"], request["horizons"]
    ),
    "comparison": lambda bundle, request: compare(bundle, request["patient"], request["plans"]),
}
"""How each kind of answer is computed from a request; the content holds the answer under its kind."""


@dataclass(frozen=True)
class ReplayResult:
    """The outcome of a replay; ``differences`` names the parts that are not equal bit for bit."""

    id: str
    seq: int
    untouched: bool
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Tell whether the record is untouched and was reproduced."""
        return self.untouched and not self.differences


def replay(entry: LogEntry, *, shelf: Shelf) -> ReplayResult:
    """Recompute an answer and its explanation with the bundle that answered.

    A record that was changed is reported and not recomputed.

    Raises:
        NotFound: when the entry is no answer, its content was erased, or the version left the shelf.
        BundleRefused: when its files are not those that answered.

    """
    if entry.kind not in RECOMPUTE:
        raise NotFound(
            f"record {entry.seq} is no answer that can be computed again: it is of kind {entry.kind}"
        )
    if entry.content is None:
        raise NotFound(f"what was asked and answered in record {entry.seq} has been erased")
    if not _untouched(entry):
        return ReplayResult(entry.id, entry.seq, untouched=False, differences=())
    recorded = orjson.loads(entry.content)
    stamp = recorded["model"]
    shelved = shelf.find(stamp["name"], stamp["version"])
    bundle = read_bundle(shelved.folder, expected_hash=stamp["bundle"])
    recomputed = RECOMPUTE[entry.kind](bundle, recorded["request"])
    differences = _differences(recorded[entry.kind], orjson.loads(orjson.dumps(recomputed)), entry.kind)
    return ReplayResult(entry.id, entry.seq, untouched=True, differences=differences)


def _untouched(entry: LogEntry) -> bool:
    """Tell whether body and content are the ones that were hashed."""
    if leaf_hash(entry.body).hex() != entry.leaf_hash or entry.salt is None or entry.content is None:
        return False
    return bool(orjson.loads(entry.body)["commitment"] == commit(entry.salt, entry.content))


def _differences(recorded: Any, recomputed: Any, kind: str) -> tuple[str, ...]:
    """Name the parts that differ; the whole, where it has no named parts."""
    if not isinstance(recorded, dict) or not isinstance(recomputed, dict):
        return () if recorded == recomputed else (kind,)
    parts = [*recomputed, *(part for part in recorded if part not in recomputed)]
    return tuple(part for part in parts if recorded.get(part) != recomputed.get(part))
