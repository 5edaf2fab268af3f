"""Fingerprints: one text of a document, whatever the order it was built in."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.fingerprint import canonical_json, sha256

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_the_order_of_keys_does_not_show(document: dict[str, object]):
    backwards = dict(reversed(document.items()))
    assert canonical_json(backwards) == canonical_json(document)


@given(JSON)
def test_the_canonical_text_says_the_same_as_the_document(document: object):
    assert json.loads(canonical_json(document)) == document


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_refused(number: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": number})


def test_sha256_is_the_standard_s():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
