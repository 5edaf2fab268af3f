"""Nothing lost: a short run of tests/benchmarks/kills.py on both stores."""

import os
from pathlib import Path

import pytest

from tests.benchmarks.kills import Deployment, address_of, measure
from tests.serving.client import deploy

NO_SERVER = pytest.mark.skipif(
    "SALVAGE_TEST_POSTGRES" not in os.environ, reason="SALVAGE_TEST_POSTGRES names no PostgreSQL server"
)
KILLS = 5
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="workers are found in /proc"),
]


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=NO_SERVER)])
def test_nothing_that_was_answered_is_lost_to_kills(tmp_path, bundle, store):
    home = deploy(tmp_path, bundle)
    with address_of(store, tmp_path) as address:
        found = measure(Deployment(home, address), kills=KILLS, seed=5)
    assert found["kills"] == KILLS
    assert found["answered"] >= KILLS
    assert found["records"] > found["answered"]
    assert found["checkpoints"] > 0
    assert {found[name] for name in ("lost", "gaps", "inconsistent_checkpoints", "findings")} == {0}


def test_what_is_missing_would_be_found(tmp_path, bundle):
    from serving.audit.store import make_store  # noqa: PLC0415
    from tests.benchmarks.kills import Record, Told  # noqa: PLC0415
    from tests.serving.client import answer, client_of  # noqa: PLC0415

    home = deploy(tmp_path, bundle)
    with client_of(home) as client:
        given = [answer(client)["audit"] for _ in range(3)]
    told = [Told(g["id"], g["seq"], g["leaf_hash"], g["tree_size"], g["root_hash"]) for g in given]
    wrong = [
        Told("not there", 2, told[0].leaf, told[0].size, told[0].root),
        Told(told[0].id, 3, told[0].leaf, told[0].size, told[0].root),
        Told(told[0].id, told[0].seq, "0" * 64, told[0].size, told[0].root),
    ]
    misled = Told(told[1].id, told[1].seq, told[1].leaf, told[1].size, "0" * 64)
    record = Record(make_store(home / "audit.db"))
    record.hold_against([*told, *wrong, misled])
    record.store.close()
    assert (record.lost, record.misled, record.gaps) == (3, 1, 0)
