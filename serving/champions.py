"""The champions: the promoted bundles, verified and held in memory."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import orjson

from features.errors import InvalidRequest, NoChampion, Problem, SalvageError
from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from models.bundle.shelf import Shelf, Shelved
from serving.contract import ModelStamp

ADVICE = "no model is promoted; run: salvage fit --protocol relapse-survival"
NAMES_LAST_SECONDS = 1.0
AGAIN_SECONDS = 30.0
Signature = tuple[int, int, int]

log = logging.getLogger("salvage")


@dataclass(frozen=True)
class Champion:
    """A verified bundle and the stamp its answers carry."""

    stamp: ModelStamp
    bundle: ModelBundle

    @cached_property
    def stamp_json(self) -> bytes:
        """Return the stamp as it stands in answers."""
        return orjson.dumps(self.stamp)

    @cached_property
    def predictors(self) -> int:
        """Return the number of predictors of the disease that has most."""
        fields = self.bundle.dictionary.fields
        return max(sum(f.applies(disease) for f in fields) for disease in self.bundle.protocol.diseases)


@dataclass(frozen=True)
class _HeldChampion:
    pointer: Signature
    champion: Champion


class Champions:
    """Serves the bundle that the shelf names, and loads a newly promoted one in the background.

    A newly promoted bundle is read, verified and put on record in the background while the former one goes
    on answering; whoever holds the former keeps it until done. A promoted bundle that cannot be trusted, or
    cannot be put on record, is reported and not taken up; it is looked at again half a minute later.
    ``loaded`` is told of each bundle taken up and of the one before it.
    """

    def __init__(self, shelf: Shelf, *, loaded: Callable[[Champion, Champion | None], None]) -> None:
        self._shelf = shelf
        self._loaded = loaded
        self._lock = threading.Lock()
        self._held: dict[str, _HeldChampion] = {}
        self._looked: dict[str, tuple[Signature, float]] = {}
        self._only: tuple[float, str] = (0.0, "")

    def names(self) -> tuple[str, ...]:
        """Return the models that have a champion."""
        return self._shelf.names()

    def load_all(self) -> None:
        """Load every champion, so that the first request does not wait; failures are logged."""
        for name in self.names():
            try:
                self.get(name)
            except SalvageError as error:
                log.error("not taken up", extra={"model": name, "reason": str(error)})

    async def champion(self, name: str | None) -> Champion:
        """Return a model's champion, as :meth:`get`, without holding up other requests."""
        held = self._current(name)
        return await asyncio.to_thread(self.get, name) if held is None else held

    def get(self, name: str | None) -> Champion:
        """Return a model's champion; without a name, that of the only model.

        Raises:
            NotFound: for an unknown name.
            NoChampion: when nothing is promoted.
            InvalidRequest: when several models are served and none was named.
            BundleRefused: when the files are not those promoted, or nobody trusted signed; none is held then.
            RecordNotWritten: when it could not be put on record that it was taken up.

        """
        name = name if name is not None else self._only_name()
        return self._current(name) or self._take_up(name)

    def _current(self, name: str | None) -> Champion | None:
        """Return the loaded champion, starting to load a newer one; None when none is loaded."""
        if name is None:
            since, name = self._only
            if time.monotonic() - since > NAMES_LAST_SECONDS:
                return None
        held = self._held.get(name)
        if held is None:
            return None
        pointer = self._pointer(name)
        if pointer is not None and pointer != held.pointer and self._due(name, pointer):
            threading.Thread(target=self._renew, args=(name,), daemon=True).start()
        return held.champion

    def _due(self, name: str, pointer: Signature) -> bool:
        """Tell whether a promotion was not tried in the last half minute, and mark it as tried."""
        looked, now = self._looked.get(name), time.monotonic()
        if looked is not None and looked[0] == pointer and now - looked[1] < AGAIN_SECONDS:
            return False
        self._looked[name] = pointer, now
        return True

    def _renew(self, name: str) -> None:
        try:
            self._take_up(name)
        except SalvageError as error:
            log.error("not taken up", extra={"model": name, "reason": str(error)})

    def _take_up(self, name: str) -> Champion:
        with self._lock:
            pointer, held = self._pointer(name), self._held.get(name)
            if held is not None and held.pointer == pointer:
                return held.champion
            before = None if held is None else held.champion
            shelved = self._shelf.champion(name)
            if before is not None and _same(before, shelved):
                champion = before
            else:
                champion = self._load(shelved)
                self._loaded(champion, before)
            if pointer is not None:
                self._held[name] = _HeldChampion(pointer, champion)
            return champion

    def _load(self, shelved: Shelved) -> Champion:
        self._shelf.require_signed(shelved)
        return _load(shelved)

    def _pointer(self, name: str) -> Signature | None:
        """Return inode, time and size of the champion's pointer file, None where there is none."""
        try:
            status = os.stat(self._shelf.pointer(name))  # noqa: PTH116  several times a request
        except (OSError, ValueError):  # a name that is none has no file either
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _only_name(self) -> str:
        names = self.names()
        if not names:
            raise NoChampion(ADVICE)
        if len(names) > 1:
            remedy = "expected one of " + ", ".join(names)
            raise InvalidRequest("request", [Problem("model", "is needed, as several are served", remedy)])
        self._only = time.monotonic(), names[0]
        return names[0]


def _same(champion: Champion, shelved: Shelved) -> bool:
    stamp = champion.stamp
    return (stamp.version, stamp.bundle) == (shelved.version, shelved.bundle)


def _load(shelved: Shelved) -> Champion:
    bundle = read_bundle(shelved.folder, expected_hash=shelved.bundle)
    bundle.prepare()
    card = bundle.card
    stamp = ModelStamp(
        shelved.name, shelved.version, shelved.bundle, card.title, bundle.protocol.name, bundle.evidence
    )
    return Champion(stamp, bundle)
