"""The champions: the promoted bundles, verified and held in memory."""

import threading
from dataclasses import dataclass

from features.errors import InvalidRequest, NoChampion, Problem
from models.bundle import ModelBundle, read_bundle
from models.shelf import Shelf, Shelved
from serving.contract import ModelStamp

ADVICE = "no model is promoted; run: salvage fit --protocol relapse-survival"


@dataclass(frozen=True)
class Champion:
    """A verified bundle and the stamp its answers carry."""

    stamp: ModelStamp
    bundle: ModelBundle


class Champions:
    """Answers with the bundle that the shelf names now; reads it from disk only when the name changed."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Shelved, Champion]] = {}

    def names(self) -> tuple[str, ...]:
        """Return the models that have a champion."""
        return self._shelf.names()

    def get(self, name: str | None) -> Champion:
        """Return a model's champion; without a name, that of the only model.

        Raises:
            NotFound: for an unknown name.
            NoChampion: when nothing is promoted.
            InvalidRequest: when several models are served and none was named.
            BundleRefused: when the bundle's files are not those that were promoted, or nobody trusted signed.

        """
        shelved = self._shelf.champion(name if name is not None else self._only())
        with self._lock:
            held = self._held.get(shelved.name)
            if held is None or held[0] != shelved:
                self._shelf.require_signed(shelved)
                held = (shelved, _load(shelved))
                self._held[shelved.name] = held
            return held[1]

    def _only(self) -> str:
        names = self.names()
        if not names:
            raise NoChampion(ADVICE)
        if len(names) > 1:
            remedy = "expected one of " + ", ".join(names)
            raise InvalidRequest("request", [Problem("model", "is needed, as several are served", remedy)])
        return names[0]


def _load(shelved: Shelved) -> Champion:
    bundle = read_bundle(shelved.folder, expected_hash=shelved.bundle)
    bundle.prepare()
    card = bundle.card
    stamp = ModelStamp(
        shelved.name, shelved.version, shelved.bundle, card.title, bundle.protocol.name, bundle.evidence
    )
    return Champion(stamp, bundle)
