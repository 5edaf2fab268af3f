"""Answers every kind of request over a home, replays the answers, and prints which packages were loaded."""

import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import serving
from models.bundle.shelf import Shelf
from serving.audit.replay import RECOMPUTE, replay
from serving.audit.store import make_store
from tests.lib.patients import BREAST
from tests.serving.client import client_of
from tests.serving.fhir.charts import bundle, relapsed

PLAN = {"plan_chemotherapy": True, "plan_radiation": False}


def main(home: Path, general: str, planned: str) -> None:
    for module in pkgutil.walk_packages(serving.__path__, "serving."):
        import_module(module.name)
    asked = {"model": general, "patient": BREAST}
    with client_of(home) as client:
        for response in (
            client.post("/v1/predictions", json=asked),
            client.post("/v1/explanations", json=asked),
            client.post("/v1/comparisons", json={"model": planned, "patient": BREAST, "plans": [PLAN]}),
            client.post(f"/v1/fhir/predictions?model={general}", json=bundle(*relapsed())),
        ):
            assert response.status_code == 200, response.text
    answers = [entry for entry in make_store(home / "audit.db").entries() if entry.kind in RECOMPUTE]
    assert {entry.kind for entry in answers} == set(RECOMPUTE)
    assert all(replay(entry, shelf=Shelf(home / "shelf")).same for entry in answers)
    sys.stdout.write(" ".join({name.partition(".")[0] for name in sys.modules}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
