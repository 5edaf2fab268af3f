"""The client of the serving tests: the real application in this process, asked as HTTP asks."""

import json
import sqlite3
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from serving.access.settings import OFF, AccessSettings
from serving.app import create_app
from serving.server import open_log
from serving.settings import ServingSettings
from tests.lib.patients import BREAST

with warnings.catch_warnings():
    # starlette would rather have httpx2, which is no dependency of ours, and says so at import
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

MODEL = "salvage-relapse-survival-synthetic"
PREDICTIONS = "/v1/predictions"
FITTED_MODEL = "overall_survival.model.json"
COLORECTAL = {
    "disease": "colorectal_cancer",
    "age": 66.0,
    "sex": "male",
    "months_diagnosis_to_relapse": 9.0,
    "positive_lymph_nodes": 7,
    "tumour_grade": "grade_2",
    "local_extent": "serosa",
    "bowel_obstruction": True,
    "bowel_perforation": False,
    "organ_adherence": False,
    "prior_chemotherapy": True,
    "prior_levamisole": True,
}


def deploy(folder: Path, bundle: ModelBundle, *, name: str = MODEL) -> Path:
    """Make a home with the bundle as champion, as the `home` fixture does for one test."""
    bundle.write(folder / "written")
    shelf = Shelf(folder / "home" / "shelf")
    shelf.publish(name, "1", folder / "written")
    shelf.promote(name, "1")
    return folder / "home"


@contextmanager
def client_of(home: Path, **settings: Any) -> Iterator[TestClient]:
    """Run the application over a home, as in the demo: everyone is let in. A 500 is answered as such."""
    asked = ServingSettings(home=home, **{"access": everyone_let_in(home), **settings})
    with (
        closing(open_log(asked)) as log,
        TestClient(
            create_app(asked, log), base_url="http://localhost", raise_server_exceptions=False
        ) as client,
    ):
        yield client


def everyone_let_in(home: Path) -> AccessSettings:
    return AccessSettings(home, f"sqlite:///{home / 'access.db'}", mode=OFF, demo=True)


def ask(client: TestClient, patient: dict[str, Any] | None = None, **options: Any) -> Any:
    """Ask for a prediction."""
    return client.post(PREDICTIONS, json={"patient": BREAST if patient is None else patient, **options})


def answer(client: TestClient, patient: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Ask for a prediction that must be given."""
    response = ask(client, patient, **options)
    assert response.status_code == 200, response.text
    return response.json()


def survival_of(answered: dict[str, Any]) -> dict[str, Any]:
    """Return the only outcome of a model of overall survival, from an answer."""
    ((outcome,),) = (endpoint["outcomes"] for endpoint in answered["prediction"]["endpoints"])
    assert outcome["outcome"] == "overall_survival"
    return outcome


def settled(answered: Callable[[], dict[str, Any]], version: str) -> dict[str, Any]:
    """Ask until a version answers: a promoted one is taken up in the background."""
    until = time.monotonic() + 20.0
    while (given := answered())["model"]["version"] != version:
        assert time.monotonic() < until, f"version {version} was never taken up"
        time.sleep(0.02)
    return given


def prediction_bytes(content: bytes) -> bytes:
    """Cut the prediction out of an answer, byte for byte."""
    _, _, rest = content.partition(b'"prediction":')
    part, _, _ = rest.rpartition(b',"audit":')
    assert json.loads(part)["endpoints"][0]["endpoint"] == "overall_survival"
    return part


def rows(home: Path) -> list[tuple[int, str, str, str, bytes, str]]:
    """Read every recorded answer with a connection of our own: what stands beside the log, as its body."""
    if not (home / "audit.db").is_file():
        return []
    with closing(sqlite3.connect(home / "audit.db")) as reader:
        found = reader.execute(
            "SELECT seq, id, at, kind, content, leaf_hash FROM entries JOIN contents USING (seq) ORDER BY seq"
        ).fetchall()
    return [(*head, zlib.decompress(stored[:-4]), leaf) for *head, stored, leaf in found]


def facts_of(home: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read each entry's kind and facts with a connection of our own."""
    with closing(sqlite3.connect(home / "audit.db")) as reader:
        found = reader.execute("SELECT kind, body FROM entries ORDER BY seq").fetchall()
    return [(kind, json.loads(body)["facts"]) for kind, body in found]


def in_store(home: Path, script: str) -> None:
    """Run SQL on the audit store from outside the application."""
    with closing(sqlite3.connect(home / "audit.db")) as other:
        other.executescript(script)


def served_folder(home: Path) -> Path:
    """Return the folder of the bundle that the fixture promoted."""
    return home / "shelf" / MODEL / "1"


def other_bundle(bundle: ModelBundle) -> ModelBundle:
    """Return a bundle that answers differently: a tenth more log odds of death in every interval."""
    survival, *others = bundle.endpoints
    model = replace(survival.model, base=survival.model.base + 0.1)
    return replace(bundle, endpoints=(replace(survival, model=model), *others))


def publish_next(home: Path, bundle: ModelBundle, *, name: str = MODEL, version: str = "2") -> str:
    """Publish a bundle without promoting it, and return its hash."""
    folder = home.parent / f"written-{name}-{version}"
    bundle.write(folder)
    return Shelf(home / "shelf").publish(name, version, folder).bundle


def assert_problem(response: Any, status: int, slug: str | None = None) -> dict[str, Any]:
    """Judge an error's one shape, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert {"type", "title", "status", "detail"} <= set(document)
    assert set(document) <= {"type", "title", "status", "detail", "problems"}
    assert document["status"] == status
    assert document["type"].startswith("urn:salvage:problem:")
    assert document["title"]
    assert document["detail"]
    assert slug is None or document["type"] == f"urn:salvage:problem:{slug}"
    for problem in document.get("problems", []):
        assert set(problem) == {"field", "problem", "remedy"}
        assert all(isinstance(said, str) for said in problem.values())
        assert problem["problem"]
        assert problem["remedy"]
    return document


def named(document: dict[str, Any]) -> dict[str, str]:
    """Return each field at fault and what is wrong with it."""
    found = {problem["field"]: problem["problem"] for problem in document["problems"]}
    assert len(found) == len(document["problems"]), "a field is named twice"
    return found
