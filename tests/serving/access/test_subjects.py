"""A patient's identifier is kept as a keyed hash."""

import hashlib
import hmac
import stat

from serving.access.subjects import subject_hash, subject_key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "subject.key"
    key = subject_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert subject_key(path) == key
    assert subject_key(tmp_path / "other") != key


def test_the_hash_is_hmac_of_the_identifier(tmp_path):
    key = subject_key(tmp_path / "key")
    found = subject_hash(key, "MRN-1 – Ä")
    assert found == hmac.new(key, "MRN-1 – Ä".encode(), hashlib.sha256).hexdigest()
    assert found != subject_hash(key, "MRN-2")
    assert found != hashlib.sha256("MRN-1 – Ä".encode()).hexdigest()
