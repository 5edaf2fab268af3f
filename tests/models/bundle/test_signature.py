"""Only bundles that a trusted host signed are promoted and loaded."""

import base64
import json
import shutil
import stat
import subprocess
import threading

import pytest

from features.errors import BundleRefused, InvalidInput
from models.bundle.keyfile import read_or_make
from models.bundle.manifest import MANIFEST
from models.bundle.shelf import Shelf
from models.bundle.signature import Keys, verify

NAME = "salvage-test"


@pytest.fixture
def keys(tmp_path):
    return Keys.from_environment({}, home=tmp_path / "home")


@pytest.fixture
def stranger(tmp_path):
    return Keys.from_environment({}, home=tmp_path / "elsewhere")


@pytest.fixture(scope="session")
def written(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("signature") / "written"
    bundle.write(folder)
    return folder


@pytest.fixture
def shelf(tmp_path, written):
    shelf = Shelf(tmp_path / "home" / "shelf")
    shelf.publish(NAME, "1", written)
    return shelf


def signature_of(shelf):
    return shelf.root / NAME / "1.sig"


def stated(shelf):
    """Return what a publisher signs."""
    return f"{NAME} 1\n".encode() + (shelf.root / NAME / "1" / MANIFEST).read_bytes()


def test_the_private_key_is_made_once_for_its_owner_alone_and_trusted_where_it_was_made(keys):
    first = keys.public()
    assert stat.S_IMODE(keys.signing.stat().st_mode) == 0o600
    assert keys.trusted.read_text() == f"{first} this host\n"
    assert keys.public() == first
    assert keys.trusted.read_text() == f"{first} this host\n"


def test_a_key_taken_from_the_list_stays_out_of_it(keys):
    keys.public()
    keys.trusted.write_text("# nobody\n")
    keys.sign(b"manifest")
    assert keys.trusted_keys() == frozenset()


def test_the_keys_lie_where_the_environment_says(tmp_path):
    environ = {"SALVAGE_SIGNING_KEY": str(tmp_path / "a"), "SALVAGE_TRUSTED_KEYS": str(tmp_path / "b")}
    keys = Keys.from_environment(environ, home=tmp_path / "home")
    keys.public()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_many_that_make_a_key_in_one_moment_get_the_same_one(tmp_path):
    path, gate, found = tmp_path / "new" / "key", threading.Barrier(8), []

    def make(number):
        gate.wait()
        found.append(read_or_make(path, lambda: bytes([number]) * 32))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {path.read_bytes()}
    assert {file.name for file in path.parent.iterdir()} == {"key"}


def test_a_signature_is_one_that_openssl_verifies(keys, tmp_path):
    manifest = tmp_path / "manifest"
    manifest.write_bytes(b'{"files":{}}')
    made = base64.b64decode(json.loads(keys.sign(manifest.read_bytes()))["signature"])
    (tmp_path / "sig").write_bytes(made)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-inkey", str(keys.signing)]
    command += ["-in", str(manifest), "-sigfile", str(tmp_path / "sig")]
    assert "Verified Successfully" in subprocess.run(command, capture_output=True, text=True).stdout


def test_a_published_version_is_signed_beside_its_folder(shelf, keys):
    shelf.require_signed(shelf.find(NAME, "1"))
    verify(stated(shelf), signature_of(shelf).read_bytes(), trusted=frozenset({keys.public()}), name=NAME)


def test_an_unsigned_version_is_neither_promoted_nor_loaded_and_is_mended_by_publishing(shelf, written):
    signature_of(shelf).unlink()
    for refused in (lambda: shelf.promote(NAME, "1"), lambda: shelf.require_signed(shelf.find(NAME, "1"))):
        with pytest.raises(
            BundleRefused, match="not signed; run on the training host: salvage models promote"
        ):
            refused()
    shelf.publish(NAME, "1", written)
    shelf.promote(NAME, "1")
    shelf.require_signed(shelf.champion(NAME))


def test_a_version_signed_by_a_stranger_is_refused_until_the_stranger_is_trusted(shelf, keys, stranger):
    signature_of(shelf).write_bytes(stranger.sign(stated(shelf)))
    with pytest.raises(BundleRefused, match=r"not trusted here.*run: salvage models trust KEY"):
        shelf.promote(NAME, "1")
    keys.trust(stranger.public(), "the other host")
    assert shelf.promote(NAME, "1").version == "1"


def test_a_stranger_cannot_sign_in_the_name_of_a_trusted_key(shelf, keys, stranger):
    forged = json.loads(stranger.sign(stated(shelf))) | {"key": keys.public()}
    signature_of(shelf).write_text(json.dumps(forged))
    with pytest.raises(BundleRefused, match="signature is not of these files"):
        shelf.promote(NAME, "1")


@pytest.mark.parametrize(("name", "version"), [(NAME, "2"), ("salvage-other", "1")])
def test_signed_files_cannot_take_the_place_of_another_version_or_model(shelf, written, name, version):
    shutil.copytree(written, shelf.root / name / version)
    shutil.copy(signature_of(shelf), shelf.root / name / f"{version}.sig")
    with pytest.raises(BundleRefused, match="signature is not of these files"):
        shelf.promote(name, version)


def test_a_manifest_changed_after_signing_is_refused(shelf):
    path = shelf.root / NAME / "1" / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"format"', b'"Format"', 1))
    with pytest.raises(BundleRefused, match="signature is not of these files"):
        shelf.promote(NAME, "1")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"\xff", b'{"key": 1, "signature": 2}', b'{"key": "x", "signature": "%"}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_signature_that_is_none_is_refused(shelf, content):
    signature_of(shelf).write_bytes(content)
    with pytest.raises(BundleRefused, match="signature cannot be read"):
        shelf.promote(NAME, "1")


@pytest.mark.parametrize(
    "key", ["", "x", "ed25519:", "ed25519:AAAA", "ed25519:" + "A" * 5000, "ssh-rsa AAAA"]
)
def test_what_is_no_public_key_is_not_trusted(keys, key):
    with pytest.raises(InvalidInput, match="is no public key"):
        keys.trust(key)
    assert not keys.trusted.exists()


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_that_cannot_be_read_is_said(keys, content):
    keys.signing.parent.mkdir()
    keys.signing.write_bytes(content)
    with pytest.raises(InvalidInput, match="SALVAGE_SIGNING_KEY"):
        keys.sign(b"manifest")


def test_a_remark_cannot_trust_another_key(keys, stranger):
    keys.trust(keys.public(), "ours")
    with pytest.raises(InvalidInput, match="remark"):
        keys.trust(stranger.public(), f"x\n{KIND_OF_KEY}")


KIND_OF_KEY = "ed25519:" + base64.b64encode(bytes(32)).decode()
