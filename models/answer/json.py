"""Rendering: a prediction's JSON from what never changes in it and the few hundred numbers that do.

A prediction is made once with a marker in place of each part that changes. Its JSON, cut at the markers, is
the template; an answer is the template with each part's own JSON in between. So whatever the result's classes
state is in the answer, by one description of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import orjson

MARKED = re.compile(r'"\ue000(\d+)\ue001"')


def markers(count: int, *, start: int = 0) -> list[str]:
    """Return texts that stand for the parts ``start``, ``start`` + 1, ... and occur nowhere else."""
    return [f"\ue000{at}\ue001" for at in range(start, start + count)]


@dataclass(frozen=True)
class Template:
    """JSON cut where parts belong: ``between`` has one text more than ``order`` has numbers of parts."""

    between: tuple[bytes, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, marked: object) -> "Template":
        """Cut the JSON of a result that has markers in it."""
        pieces = MARKED.split(orjson.dumps(marked).decode())
        return cls(
            tuple(piece.encode() for piece in pieces[::2]), tuple(int(number) for number in pieces[1::2])
        )

    def filled(self, parts: list[bytes]) -> bytes:
        """Return the JSON with each part's own in its places."""
        pieces = [b""] * (2 * len(self.order) + 1)
        pieces[::2] = self.between
        pieces[1::2] = itemgetter(*self.order)(parts)
        return b"".join(pieces)


def numbers_as_json(numbers: Sequence[float]) -> list[bytes]:
    """Return each number as JSON has it; what is not finite is null."""
    return orjson.dumps(numbers)[1:-1].split(b",")
