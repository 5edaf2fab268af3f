"""Base64 that reads in one way only."""

from base64 import b64encode
from contextlib import suppress
from string import ascii_letters, digits

import pytest

from features.base64 import decoded

ALPHABET = ascii_letters + digits + "+/"


def test_what_base64_writes_is_read_back():
    for size in range(70):
        assert decoded(b64encode(bytes(range(size))).decode()) == bytes(range(size))


@pytest.mark.parametrize(("size", "meanings"), [(3, 64), (66, 64), (2, 16), (68, 16), (1, 4), (64, 4)])
def test_no_two_last_characters_mean_the_same(size, meanings):
    text = b64encode(bytes([7]) * size).decode()
    last = len(text.rstrip("=")) - 1
    found = list[bytes]()
    for character in ALPHABET:
        with suppress(ValueError):
            found.append(decoded(text[:last] + character + text[last + 1 :]))
    assert len(found) == len(set(found)) == meanings


@pytest.mark.parametrize("text", ["AQ", "AQ=", "AQ==\n", " AQ==", "A-==", "AR==", "é", "AQ==AQ=="])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(ValueError, match=r"base64|padding|ASCII"):
        decoded(text)
