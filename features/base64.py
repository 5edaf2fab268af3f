"""Strict base64: each byte string has exactly one accepted encoding."""

from base64 import b64decode, b64encode


def decoded(text: str) -> bytes:
    """Decode canonical base64, as :func:`base64.b64encode` writes it.

    The unused bits of the last character must be zero (RFC 4648, section 3.5), so that changing any character
    of a signature or hash is detected.

    >>> decoded("AQ==")
    b'\\x01'

    Raises:
        ValueError: when the text is not base64, or not the canonical encoding of its bytes.

    """
    content = b64decode(text, validate=True)
    if b64encode(content).decode() != text:
        raise ValueError("this is not how base64 writes these bytes")
    return content
