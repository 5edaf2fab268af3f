"""Signed notes: as C2SP and Go's sumdb/note write them, under a key that stays private."""

import stat
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.errors import RecordNotWritten
from serving.audit.note import KeyRefused, PrivateKey, PublicKey, load_key

# The example of the package documentation of golang.org/x/mod/sumdb/note: key, text and signature.
GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_go_s_example_is_signed_and_verified_byte_for_byte(tmp_path):
    file = tmp_path / "key"
    file.write_text(GO_PRIVATE + "\n")
    file.chmod(0o600)
    key = load_key(file)
    assert str(key.public) == GO_PUBLIC
    assert key.sign(GO_TEXT) == GO_TEXT + "\n" + GO_SIGNATURE


def test_a_public_key_is_read_back():
    assert str(PublicKey.parse(GO_PUBLIC)) == GO_PUBLIC


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    file = tmp_path / "deep" / "audit.key"
    made = load_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert str(load_key(file).public) == str(made.public)
    assert str(load_key(tmp_path / "other").public) != str(made.public)


def test_all_who_start_at_once_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = {str(key.public) for key in pool.map(lambda _: load_key(tmp_path / "key"), range(8))}
    assert len(keys) == 1


def test_a_key_that_others_may_read_is_refused(tmp_path):
    load_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeyRefused, match="chmod 600"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize(
    "text",
    ["", "x", GO_PUBLIC, GO_PRIVATE[:-4], GO_PRIVATE.replace("AYEK", "BYEK"), "a+b+c+d+e", GO_PRIVATE + "*"],
)
def test_what_is_no_private_key_is_refused_and_left_alone(tmp_path, text):
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(KeyRefused) as refusal:
        load_key(file)
    assert text[-20:] not in str(refusal.value) or not text
    assert file.read_text() == text


def test_a_key_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "key").mkdir(mode=0o700)
    with pytest.raises(RecordNotWritten, match="cannot be read"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        GO_PUBLIC.replace("c74f20a3", "c74f20a4"),
        GO_PUBLIC.replace("Peter", "Paul"),
        GO_PUBLIC[:-4],
        GO_PUBLIC.replace("ARpc", "BRpc"),
        "two words" + GO_PUBLIC,
    ],
)
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(KeyRefused):
        PublicKey.parse(text)


def test_another_key_s_signature_does_not_verify():
    key = PrivateKey("a", Ed25519PrivateKey.generate())
    other = PrivateKey("a", Ed25519PrivateKey.generate())
    signed = key.key.sign(b"text")
    assert key.public.verifies("text", signed)
    assert not other.public.verifies("text", signed)
    assert not key.public.verifies("texts", signed)
    assert not key.public.verifies("text", b64encode(signed))
