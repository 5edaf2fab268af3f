"""One error shape: every route, every error, the framework's own included."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.bundle.bundle import ModelBundle
from serving.app import create_app
from serving.server import open_log
from serving.settings import ServingSettings
from tests.lib.patients import BREAST
from tests.serving.client import (
    FITTED_MODEL,
    MODEL,
    PREDICTIONS,
    TestClient,
    ask,
    assert_problem,
    client_of,
    deploy,
    everyone_let_in,
    served_folder,
)

SOME_ID = f"{PREDICTIONS}/0b6ff4b8-6e4e-4c2c-9e3a-6a8f8b7d2c11"
MODELS, ONE_MODEL = "/v1/models", f"/v1/models/{MODEL}"


def whole(home):
    """A deployment that answers."""


def without_champion(home):
    shutil.rmtree(home / "shelf")


def with_changed_files(home):
    (served_folder(home) / FITTED_MODEL).write_bytes(b"{}")


def without_record(home):
    (home / "audit.db").mkdir()


def unpromoted(home):
    (home / "shelf" / MODEL / "champion.json").unlink()


# the deployment     the request                               the answer
ERRORS = [
    (whole, "POST", PREDICTIONS, {}, 422, "invalid-request"),
    (whole, "POST", PREDICTIONS, {"patient": BREAST, "model": "nope"}, 404, "not-found"),
    (whole, "POST", PREDICTIONS, {"patient": {"x" * 70_000: 1}}, 413, "body-too-large"),
    (whole, "GET", SOME_ID, None, 404, "not-found"),
    (whole, "GET", "/v1/models/nope", None, 404, "not-found"),
    (whole, "GET", "/", None, 404, "not-found"),
    (whole, "GET", "/v1", None, 404, "not-found"),
    (whole, "GET", "/health", None, 404, "not-found"),
    (whole, "GET", "/v2/predictions", None, 404, "not-found"),
    (whole, "POST", f"{SOME_ID}/replay", {}, 404, "not-found"),
    (whole, "GET", "/redoc", None, 404, "not-found"),
    (whole, "GET", "/static-offline-docs/nope.js", None, 404, "not-found"),
    (whole, "GET", PREDICTIONS, None, 405, "method-not-allowed"),
    (whole, "DELETE", SOME_ID, None, 405, "method-not-allowed"),
    (without_champion, "POST", PREDICTIONS, {"patient": BREAST}, 503, "no-champion"),
    (without_champion, "POST", PREDICTIONS, {"patient": BREAST, "model": MODEL}, 404, "not-found"),
    (without_champion, "GET", "/health/ready", None, 503, "no-champion"),
    (without_champion, "GET", ONE_MODEL, None, 404, "not-found"),
    (unpromoted, "POST", PREDICTIONS, {"patient": BREAST}, 503, "no-champion"),
    (unpromoted, "POST", PREDICTIONS, {"patient": BREAST, "model": MODEL}, 503, "no-champion"),
    (unpromoted, "GET", "/health/ready", None, 503, "no-champion"),
    (unpromoted, "GET", ONE_MODEL, None, 503, "no-champion"),
    (with_changed_files, "POST", PREDICTIONS, {"patient": BREAST}, 503, "bundle-refused"),
    (with_changed_files, "GET", "/health/ready", None, 503, "bundle-refused"),
    (with_changed_files, "GET", MODELS, None, 503, "bundle-refused"),
    (with_changed_files, "GET", ONE_MODEL, None, 503, "bundle-refused"),
    (without_record, "POST", PREDICTIONS, {"patient": BREAST}, 503, "record-not-written"),
    (without_record, "GET", SOME_ID, None, 503, "record-not-written"),
    (without_record, "GET", "/health/ready", None, 503, "record-not-written"),
]


@pytest.fixture(scope="module")
def deployments(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle
) -> Iterator[dict[Callable[[Path], None], TestClient]]:
    """The application over each deployment of the table above."""
    with ExitStack() as running:
        clients = {}
        for spoil in dict.fromkeys(row[0] for row in ERRORS):
            home = deploy(tmp_path_factory.mktemp(spoil.__name__), bundle)
            spoil(home)
            clients[spoil] = running.enter_context(client_of(home))
        yield clients


@pytest.mark.parametrize(
    ("spoil", "method", "path", "body", "status", "slug"),
    ERRORS,
    ids=[f"{e[0].__name__}-{e[1]}-{e[2]}-{e[4]}" for e in ERRORS],
)
def test_an_error_is_a_problem_document(deployments, spoil, method, path, body, status, slug):
    response = deployments[spoil].request(method, path, json=body)
    assert_problem(response, status, slug)
    assert response.headers.get("retry-after") == ("5" if status == 503 else None)


def test_every_method_that_a_route_does_not_have_is_405_and_says_which_it_has(shared):
    methods = {"get", "post", "put", "patch", "delete"}
    paths = shared.get("/openapi.json").json()["paths"]
    wrong = [(m, path, has) for path, has in paths.items() for m in sorted(methods - set(has))]
    assert len(wrong) == 4 * len(paths)
    for method, path, has in wrong:
        response = shared.request(method, path.replace("{", "").replace("}", ""))
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"].lower() == next(iter(has))


def test_an_unexpected_failure_is_a_problem_that_says_nothing_of_its_cause(home):
    settings = ServingSettings(home=home, access=everyone_let_in(home))
    log = open_log(settings)
    app = create_app(settings, log)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("the patient is 57 years old")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/fails")
    log.close()
    assert_problem(response, 500, "internal")
    assert "57" not in response.text


def test_the_cause_of_a_record_that_was_not_written_stays_inside(home):
    without_record(home)
    with client_of(home) as client:
        said = ask(client).text
    assert "sqlite" not in said.lower()
    assert str(home) not in said


STRANGE = [
    "..%2f..",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..%5c..",
    "%00",
    "a%00b",
    "a" * 9_000,
    "%FF",
    "%ED%A0%80",
    "%F0%9F%92%8A",
    "'%20OR%201=1--",
    "*",
    "%0d%0aset-cookie:%20x",
    ".arriving-1",
    "champion.json",
]


@pytest.mark.parametrize("path", [PREDICTIONS, MODELS])
@pytest.mark.parametrize("name", STRANGE, ids=range(len(STRANGE)))
def test_a_strange_name_in_a_path_stands_for_nothing(shared, path, name):
    ask(shared)
    response = shared.get(f"{path}/{name}")
    assert_problem(response, 404, "not-found")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "name",
    [
        "../shelf/" + MODEL,
        f"{MODEL}/../{MODEL}",
        "..",
        ".",
        "",
        "\x00",
        "a" * 9_000,
        MODEL + "\n",
        "/etc",
        "é",
    ],
)
def test_a_strange_model_in_a_request_stands_for_nothing(shared, name):
    assert_problem(ask(shared, model=name), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["/v1/predictions/", "/v1/models/", "/health/ready/", "/metrics/", "/cds-services/"]
)
def test_nobody_is_sent_elsewhere_for_a_slash(shared, path):
    for method in ("GET", "POST"):
        answered = shared.request(method, path, follow_redirects=False)
        assert answered.status_code in (404, 405)
        assert "location" not in answered.headers
