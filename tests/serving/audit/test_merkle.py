"""The Merkle tree against RFC 6962's own test probes, another implementation, and every small tree."""

import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.audit.merkle import (
    Frontier,
    consistency_ranges,
    consistent,
    included,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root_of,
)

PROBES = Path(__file__).parents[4] / "shared" / "standards" / "merkle-vectors" / "testdata"
LEAVES = [leaf_hash(bytes([n])) for n in range(40)]


def probes(kind: str) -> list[Any]:
    found = sorted((PROBES / kind).rglob("*.json"))
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no probes in {PROBES}"))]
    return [pytest.param(path, id=str(path.relative_to(PROBES))) for path in found]


def hashes(encoded: list[str] | None) -> list[bytes]:
    return [b64decode(one) for one in encoded or ()]


def proof_of_inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    return [root_of(leaves[start:stop]) for start, stop in inclusion_ranges(index, len(leaves))]


def proof_of_consistency(first: int, leaves: list[bytes]) -> list[bytes]:
    return [root_of(leaves[start:stop]) for start, stop in consistency_ranges(first, len(leaves))]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = max(1 << n for n in range(len(leaves).bit_length()) if 1 << n < len(leaves))
    return node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


@pytest.mark.parametrize("path", probes("inclusion"))
def test_inclusion_probes(path):
    probe = json.loads(path.read_text())
    root, leaf = b64decode(probe["root"] or ""), b64decode(probe["leafHash"] or "")
    found = included(leaf, probe["leafIdx"], probe["treeSize"], root, hashes(probe["proof"]))
    assert found is not probe["wantErr"], probe["desc"]


@pytest.mark.parametrize("path", probes("consistency"))
def test_consistency_probes(path):
    probe = json.loads(path.read_text())
    roots = b64decode(probe["root1"]), b64decode(probe["root2"])
    found = consistent(probe["size1"], probe["size2"], *roots, hashes(probe["proof"]))
    assert found is not probe["wantErr"], probe["desc"]


@pytest.mark.parametrize("size", range(len(LEAVES)))
def test_a_frontier_has_the_root_of_the_definition_however_it_grew(size):
    leaves = LEAVES[:size]
    assert root_of(leaves) == recursive_root(leaves)
    assert Frontier().grown(leaves[: size // 3]).grown(leaves[size // 3 :]) == Frontier().grown(leaves)


@pytest.mark.parametrize("size", range(1, 18))
def test_every_proof_of_a_small_tree_holds_and_another_root_does_not(size):
    leaves, root = LEAVES[:size], root_of(LEAVES[:size])
    for index in range(size):
        proof = proof_of_inclusion(index, leaves)
        assert included(leaves[index], index, size, root, proof)
        assert not included(leaves[index], index, size, leaf_hash(root), proof)
    for first in range(1, size + 1):
        proof, old = proof_of_consistency(first, leaves), root_of(leaves[:first])
        assert consistent(first, size, old, root, proof)
        assert not consistent(first, size, leaf_hash(old), root, proof)
        assert not consistent(first, size, old, leaf_hash(root), proof)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=70), st.data())
def test_another_implementation_computes_the_same(entries, data):
    tree = pymerkle.InmemoryTree.init_from_entries(entries)
    leaves = [leaf_hash(entry) for entry in entries]
    assert root_of(leaves) == tree.get_state()
    index, first = data.draw(st.integers(0, len(entries) - 1)), data.draw(st.integers(1, len(entries)))
    ours = [leaves[index], *proof_of_inclusion(index, leaves)]
    assert sorted(ours) == sorted(tree.prove_inclusion(index + 1).path)
    assert root_of(leaves[:first]) == tree.prove_consistency(first).retrieve_prior_state()


@given(st.integers(1, 300), st.data())
def test_one_flipped_bit_anywhere_breaks_a_proof(size, data):
    leaves = [leaf_hash(bytes([n % 256, n // 256])) for n in range(size)]
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root, old = root_of(leaves), root_of(leaves[:first])
    inclusion, consistency = proof_of_inclusion(index, leaves), proof_of_consistency(first, leaves)
    assert included(leaves[index], index, size, root, inclusion)
    assert consistent(first, size, old, root, consistency)
    if inclusion:
        broken = flipped(inclusion, data)
        assert not included(leaves[index], index, size, root, broken)
    if consistency:
        assert not consistent(first, size, old, root, flipped(consistency, data))


def flipped(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = int.from_bytes(proof[at]) ^ (1 << bit)
    return [*proof[:at], changed.to_bytes(32), *proof[at + 1 :]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 39])
def test_a_frontier_is_read_back_from_its_bytes(size):
    frontier = Frontier().grown(LEAVES[:size])
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (2, 31), (3, 32), (4, 64)])
def test_bytes_that_are_no_frontier_are_refused(size, length):
    with pytest.raises(ValueError, match="peaks"):
        Frontier.from_bytes(size, bytes(length))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_a_leaf_that_is_not_there_has_no_proof(index, size):
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_ranges(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_a_tree_that_did_not_grow_has_no_proof(first, second):
    with pytest.raises(ValueError, match="did not grow"):
        consistency_ranges(first, second)
