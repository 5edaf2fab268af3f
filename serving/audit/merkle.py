"""The Merkle tree of RFC 6962: hashes, roots, and inclusion and consistency proofs.

A leaf is hashed as SHA-256(0 | entry), a node as SHA-256(1 | left | right); the left side of a node holds the
largest power of two of leaves. Proofs are lists of the roots of ranges of leaves: which ranges is arithmetic
(:func:`inclusion_ranges`, :func:`consistency_ranges`), and whoever holds the leaves hashes them.
Source: RFC 6962, section 2.1; verification as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
Range = tuple[int, int]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry's bytes.

    >>> leaf_hash(b"").hex()
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The state that a growing tree needs: the roots of its perfect subtrees, the largest first.

    >>> Frontier().grown([leaf_hash(b"")]).root.hex()
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def grown(self, leaves: Iterable[bytes]) -> "Frontier":
        """Return the frontier after appending these leaf hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            peaks.append(leaf)
            size += 1
            for _ in range(_trailing_zeros(size)):
                right = peaks.pop()
                peaks[-1] = node_hash(peaks[-1], right)
        return Frontier(size, tuple(peaks))

    @property
    def root(self) -> bytes:
        """Return the tree's root; that of an empty tree is the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256().digest()
        *others, root = self.peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root

    def to_bytes(self) -> bytes:
        """Return the peaks, one after the other."""
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, peaks: bytes) -> "Frontier":
        """Read what :meth:`to_bytes` gave.

        Raises:
            ValueError: when a tree of this size has another number of peaks.

        """
        if len(peaks) != HASH_BYTES * size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks")
        starts = range(0, len(peaks), HASH_BYTES)
        return cls(size, tuple(peaks[start : start + HASH_BYTES] for start in starts))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over some leaf hashes."""
    return Frontier().grown(leaves).root


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the ranges of leaves, from the leaf upwards, whose roots prove that a leaf is in the tree.

    Raises:
        ValueError: when the tree has no such leaf.

    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, stop, ranges = 0, size, list[Range]()
    while stop - start > 1:
        middle = start + _split(stop - start)
        inside, beside = ((start, middle), (middle, stop))[:: 1 if index < middle else -1]
        ranges.append(beside)
        start, stop = inside
    return ranges[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Return the ranges of leaves whose roots prove that the second tree extends the first.

    Raises:
        ValueError: when the first is empty or larger than the second.

    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {second} leaves did not grow from one of {first}")
    start, stop, ranges = 0, second, list[Range]()
    while stop != first:
        middle = start + _split(stop - start)
        inside, beside = ((start, middle), (middle, stop))[:: 1 if first <= middle else -1]
        ranges.append(beside)
        start, stop = inside
    return [*([(start, stop)] if start else []), *ranges[::-1]]


def included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Verify an inclusion proof: the leaf with this index is in the tree of this size and root."""
    if len(leaf) != HASH_BYTES or not 0 <= index < size:
        return False
    if len(proof) != len(inclusion_ranges(index, size)):
        return False
    node, at, last = leaf, index, size - 1
    for beside in proof:
        if at & 1 or at == last:
            node = node_hash(beside, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, beside)
        at, last = at >> 1, last >> 1
    return node == root


def consistent(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Verify a consistency proof: the second tree extends the first, which is not empty."""
    if 0 < first == second:
        return not proof and first_root == second_root
    if not 0 < first < second or len(proof) != len(consistency_ranges(first, second)):
        return False
    at, last = first - 1, second - 1
    shift = _trailing_zeros(first)
    at, last = at >> shift, last >> shift
    start, *others = proof if at else (first_root, *proof)
    old = new = start
    for beside in others:
        if at & 1 or at == last:
            old, new = node_hash(beside, old), node_hash(beside, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, beside)
        at, last = at >> 1, last >> 1
    return (old, new) == (first_root, second_root)


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1
