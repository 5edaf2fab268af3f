"""Inclusion and consistency proofs over the log (RFC 6962).

Holders of a receipt or a checkpoint verify them with :func:`serving.audit.merkle.included` and
:func:`serving.audit.merkle.consistent`, or with any other implementation of RFC 6962.
"""

from collections.abc import Callable
from dataclasses import dataclass

from features.errors import InvalidRequest, Problem
from serving.audit.merkle import consistency_ranges, inclusion_ranges, node_hash, root_of
from serving.audit.record import LogEntry

TILE = 4096


@dataclass(frozen=True)
class InclusionProof:
    """Proves that the leaf with this index, from 0, is in the tree of this size and root; hashes in hex."""

    id: str
    leaf_index: int
    leaf_hash: str
    tree_size: int
    root_hash: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class ConsistencyProof:
    """Proves that the second tree extends the first; roots and hashes in hex."""

    first: int
    second: int
    first_root: str
    second_root: str
    hashes: tuple[str, ...]


class LogTree:
    """The tree over a record; it caches the root of each full tile of 4,096 leaves.

    ``leaves`` returns the leaf hashes from a start to before a stop.
    """

    def __init__(self, leaves: Callable[[int, int], list[bytes]]) -> None:
        self._leaves = leaves
        self._tiles: dict[int, bytes] = {}

    def inclusion(self, entry: LogEntry, tree_size: int, *, size: int) -> InclusionProof:
        """Prove that an entry is in the tree that a record of ``size`` entries was at ``tree_size``.

        Raises:
            InvalidRequest: when that tree does not hold the entry, or the record has not reached it.

        """
        if not entry.seq <= tree_size <= size:
            raise _refusal("size", f"is {tree_size}, and has to be from {entry.seq} to {size}")
        index, root = entry.seq - 1, self._root(0, tree_size).hex()
        hashes = tuple(self._root(*part).hex() for part in inclusion_ranges(index, tree_size))
        return InclusionProof(entry.id, index, entry.leaf_hash, tree_size, root, hashes)

    def consistency(self, first: int, second: int, *, size: int) -> ConsistencyProof:
        """Prove that the tree of the second size extends that of the first, in a record of ``size`` entries.

        Raises:
            InvalidRequest: for an empty first tree, a smaller second, or one the record has not reached.

        """
        if not 0 < first <= second <= size:
            raise _refusal("first, second", f"are not two sizes, the second not smaller, from 1 to {size}")
        hashes = tuple(self._root(*part).hex() for part in consistency_ranges(first, second))
        roots = self._root(0, first).hex(), self._root(0, second).hex()
        return ConsistencyProof(first, second, *roots, hashes)

    def _root(self, start: int, stop: int) -> bytes:
        """Return the root over a range of leaves, as a tree holds it: its left part a power of two."""
        if stop - start == TILE:
            if start not in self._tiles:
                self._tiles[start] = root_of(self._leaves(start, stop))
            return self._tiles[start]
        if stop - start < TILE:
            return root_of(self._leaves(start, stop))
        middle = start + (1 << (stop - start - 1).bit_length() - 1)
        return node_hash(self._root(start, middle), self._root(middle, stop))


def _refusal(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest("request", [Problem(field, problem, "ask for the head to learn the size")])
