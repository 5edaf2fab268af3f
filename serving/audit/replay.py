"""Replay: compute a recorded prediction again from its stored inputs and model, and compare."""

from dataclasses import dataclass
from typing import Any

import orjson

from models.bundle import read_bundle
from models.shelf import Shelf
from serving.audit.store import Entry, leaf_hash


@dataclass(frozen=True)
class Replay:
    """What a replay found; ``differences`` names the parts that did not come out the same, bit for bit."""

    id: str
    seq: int
    untouched: bool
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Tell whether the record is untouched and was reproduced."""
        return self.untouched and not self.differences


def replay(entry: Entry, *, shelf: Shelf) -> Replay:
    """Recompute the prediction and its explanation with the very bundle that answered.

    A record that was changed is not recomputed: what stands in it is nobody's answer.

    Raises:
        NotFound: when the version is not on the shelf any more.
        BundleRefused: when its files are not those that answered.

    """
    if leaf_hash(entry.body) != entry.leaf_hash:
        return Replay(entry.id, entry.seq, untouched=False, differences=())
    recorded: dict[str, Any] = orjson.loads(entry.body)
    stamp, request = recorded["model"], recorded["request"]
    shelved = shelf.find(stamp["name"], stamp["version"])
    bundle = read_bundle(shelved.folder, expected_hash=stamp["bundle"])
    patient = bundle.validate(request["patient"], horizon=request["horizon"])
    recomputed = orjson.loads(orjson.dumps(bundle.predict(patient, horizon=request["horizon"])))
    differences = tuple(part for part in recomputed if recomputed[part] != recorded["prediction"].get(part))
    return Replay(entry.id, entry.seq, untouched=True, differences=differences)
