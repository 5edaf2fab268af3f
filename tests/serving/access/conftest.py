"""Keys that take a while to make, made once."""

import pytest

from serving.access.store import AccessStore
from tests.serving.access.issuer import Signer


@pytest.fixture(scope="session")
def rsa_signer():
    return Signer.make("RS256", "rsa")


@pytest.fixture(scope="session")
def other_rsa():
    return Signer.make("RS256", "rsa")


@pytest.fixture(scope="session")
def ec_signer():
    return Signer.make("ES384", "ec")


@pytest.fixture
def store(tmp_path):
    store = AccessStore(f"sqlite:///{tmp_path / 'access.db'}")
    yield store
    store.close()
