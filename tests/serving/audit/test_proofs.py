"""Proofs over a stored record hold for every entry and every size, across tiles too."""

import pytest

from features.errors import InvalidRequest
from serving.audit import proofs
from serving.audit.merkle import consistent, included, leaf_hash, root_of
from serving.audit.proofs import LogTree
from serving.audit.record import LogEntry

SIZE = 37


class Leaves:
    """A record's leaf hashes, which grow; counts how many were read."""

    def __init__(self, size: int) -> None:
        self.all = [leaf_hash(bytes([n])) for n in range(size)]
        self.read = 0

    def __call__(self, start: int, stop: int) -> list[bytes]:
        self.read += stop - start
        return self.all[start:stop]


@pytest.fixture(params=[4096, 4])
def tree(request, monkeypatch):
    monkeypatch.setattr(proofs, "TILE", request.param)
    return LogTree(Leaves(SIZE))


def entry(seq: int) -> LogEntry:
    return LogEntry(seq, f"id {seq}", "", "", b"", leaf_hash(bytes([seq - 1])).hex())


def parts(hashes: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(one) for one in hashes]


def test_every_entry_is_proven_in_every_tree_that_holds_it(tree):
    for size in range(1, SIZE + 1):
        for seq in range(1, size + 1):
            found = tree.inclusion(entry(seq), size, size=SIZE)
            root = bytes.fromhex(found.root_hash)
            assert root == root_of(tree._leaves.all[:size])
            leaf = bytes.fromhex(found.leaf_hash)
            assert included(leaf, found.leaf_index, found.tree_size, root, parts(found.hashes))


def test_every_tree_is_proven_to_have_grown_from_every_smaller_one(tree):
    for second in range(1, SIZE + 1):
        for first in range(1, second + 1):
            found = tree.consistency(first, second, size=SIZE)
            roots = bytes.fromhex(found.first_root), bytes.fromhex(found.second_root)
            assert consistent(first, second, *roots, parts(found.hashes))


def test_whole_tiles_are_read_once(monkeypatch):
    monkeypatch.setattr(proofs, "TILE", 4)
    leaves = Leaves(33)
    tree = LogTree(leaves)
    tree.inclusion(entry(33), 33, size=33)
    leaves.read = 0
    tree.inclusion(entry(33), 33, size=33)
    assert leaves.read <= 4


@pytest.mark.parametrize(("seq", "tree_size"), [(5, 4), (5, SIZE + 1), (1, 0)])
def test_a_tree_without_the_entry_or_not_reached_is_refused(tree, seq, tree_size):
    with pytest.raises(InvalidRequest, match="size"):
        tree.inclusion(entry(seq), tree_size, size=SIZE)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (1, SIZE + 1), (-1, 2)])
def test_sizes_that_are_none_are_refused(tree, first, second):
    with pytest.raises(InvalidRequest, match="sizes"):
        tree.consistency(first, second, size=SIZE)
