"""A typed client, generated from the committed description, is what a program of another team would call."""

import importlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.store import AccessStore
from tests.contract.refresh import COMMITTED
from tests.lib.patients import BREAST
from tests.serving.client import deploy
from tests.serving.planned import CHEMOTHERAPY, PLANNED, RADIATION, planned_bundle
from tests.serving.processes import Server, serving

PACKAGE = "salvage_client"
# it cannot do JSON Lines, nor one body under two media types
NOT_DONE = [
    "POST /v1/batches within predictions. Endpoint will not be generated.",
    "POST /v1/fhir/predictions within fhir.",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The client's package, importable."""
    folder = tmp_path_factory.mktemp("client")
    settings = folder / "settings.yaml"
    settings.write_text(f"package_name_override: {PACKAGE}\n", encoding="utf-8")
    tools = Path(sys.executable).parent
    command = [str(tools / "openapi-python-client"), "generate", "--path", str(COMMITTED), "--meta", "none"]
    command += ["--config", str(settings), "--output-path", str(folder / PACKAGE)]
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall("WARNING parsing (.*)", done.stdout + done.stderr) == NOT_DONE
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A secured server and a key."""
    home = deploy(tmp_path_factory.mktemp("served"), planned_bundle(), name=PLANNED)
    key, shown = new_key("program", EVERY_SCOPE, now=time.time())
    with closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store:
        store.add(key)
    with serving(home, demo=False) as running:
        yield running, shown


def of(module: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{module}")


@pytest.fixture
def client(generated: Path, server: tuple[Server, str]) -> Iterator[Any]:
    with of("client").AuthenticatedClient(base_url=server[0].url, token=server[1]) as opened:
        yield opened


def operation(tag: str, summary: str) -> Any:
    """Return the module of an operation by the start of its name, which its route gives."""
    package = of(f"api.{tag}")
    (found,) = [p.stem for p in Path(package.__path__[0]).glob(f"{summary}*.py")]
    return of(f"api.{tag}.{found}")


def asked(model: str, **said: Any) -> Any:
    (found,) = [name for name in dir(of("models")) if name.endswith(f"Post{model}")]
    return getattr(of("models"), found).from_dict({"patient": BREAST, "model": PLANNED} | said)


def test_it_predicts_and_reads_again_what_was_predicted(client):
    given = operation("predictions", "predict_v1_predictions").sync(
        client=client, body=asked("PredictionRequest", horizon=24)
    )
    assert type(given).__name__ == "Answer"
    assert given.model.name == PLANNED
    (endpoint,) = given.prediction.endpoints
    assert [at.horizon for at in endpoint.outcomes[0].probabilities] == [12, 24, 36, 60]
    again = operation("predictions", "recorded").sync(given.audit.id, client=client)
    assert again.prediction.to_dict() == given.prediction.to_dict()
    assert again.audit.leaf_hash == given.audit.leaf_hash


def test_it_explains_at_several_horizons(client):
    given = operation("predictions", "explain").sync(
        client=client, body=asked("ExplanationRequest", horizons=[12, 24])
    )
    (timeline,) = given.explanations.timelines
    assert [one.horizon for one in timeline.explanations] == [12, 24]


def test_it_compares_plans(client):
    given = operation("predictions", "compare").sync(
        client=client, body=asked("ComparisonRequest", plans=[CHEMOTHERAPY, RADIATION])
    )
    assert [plan.support > 0 for plan in given.comparison.plans] == [True, True]


def test_it_lists_and_shows_models(client):
    (listed,) = operation("models", "list_models").sync(client=client).models
    shown = operation("models", "show_model").sync(listed.name, client=client)
    assert shown.model.bundle == listed.bundle
    assert shown.predictors.to_dict()["required"] == ["disease"]


def test_it_reads_the_record(client):
    given = operation("predictions", "predict_v1_predictions").sync(
        client=client, body=asked("PredictionRequest")
    )
    head = operation("audit", "head").sync(client=client)
    assert head.size >= given.audit.seq
    page = operation("audit", "entries").sync(client=client, after=given.audit.seq - 1, limit=1)
    (entry,) = page.entries
    assert (entry.id, entry.leaf_hash) == (given.audit.id, given.audit.leaf_hash)
    detail = operation("audit", "entry").sync(given.audit.id, client=client)
    assert detail.entry.to_dict() == entry.to_dict()
    proof = operation("audit", "inclusion").sync(client=client, id=given.audit.id, size=given.audit.tree_size)
    assert proof.proof.root_hash == given.audit.root_hash


def test_errors_are_typed_too(client, server):
    predict = operation("predictions", "predict_v1_predictions")
    wrong = asked("PredictionRequest", patient=BREAST | {"age": 119.5, "positive_lymph_nodes": 101})
    refused = predict.sync(client=client, body=wrong)
    assert (type(refused).__name__, refused.status) == ("ProblemDetails", 422)
    assert [problem.field for problem in refused.problems] == ["positive_lymph_nodes"]
    with of("client").AuthenticatedClient(base_url=server[0].url, token="x") as stranger:
        assert predict.sync(client=stranger, body=asked("PredictionRequest")).status == 401
