"""Packing: what is stored is smaller, comes back byte for byte, and no changed bit of it passes."""

import os

import pytest

from serving.audit.record import packed, unpacked


@pytest.mark.parametrize("content", [b"", b"x", os.urandom(5000), b'{"age": 57}' * 5000])
def test_what_was_packed_comes_back(content):
    assert unpacked(packed(content)) == content


def test_text_that_repeats_itself_takes_a_fraction_of_its_room():
    content = b"".join(b'{"predictor":"age","contribution":%d}' % n for n in range(1000))
    assert len(packed(content)) < len(content) / 5


def test_every_flipped_bit_and_every_cut_is_found():
    stored = packed(b'{"age": 57, "contribution": 0.0123}')
    for at in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError, match="content"):
            unpacked(bytes(flipped))
    for length in range(len(stored)):
        with pytest.raises(ValueError, match="content"):
            unpacked(stored[:length])


def test_what_is_whole_but_was_never_packed_is_no_content():
    with pytest.raises(ValueError, match="unpacked"):
        unpacked(b"\x00\x00\x00\x00")
