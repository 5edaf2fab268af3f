"""The pages say what the program does: headings, generated pages, shown files and outputs, links."""

import asyncio
import dataclasses
import io
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import typer.main
from rich.console import Console
from starlette.exceptions import HTTPException

import salvage
from features.cohort import read_patient
from features.dictionary import load_dictionary
from features.dictionary_page import REFRESH, dictionary_page
from features.endpoints import ENDPOINTS
from features.errors import InvalidInput
from features.protocol import load_protocol, protocol_names
from features.sources import grammar, recipe
from features.sources.build import build_cohort
from models.patient.plans import GROUP
from models.registry.settings import RegistrySettings
from serving import contract, errors
from serving.access.principal import AccessScope
from serving.access.settings import RATE
from serving.app import create_app
from serving.audit.proofs import ConsistencyProof
from serving.audit.retention import FLOOR_DAYS
from serving.audit.sequencer import Sequencer
from serving.audit.store import make_store
from serving.metrics import Metrics
from serving.routes import audit
from serving.settings import NUMBERS, ServingSettings
from tests.contract.refresh import described
from training import display

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "GLOSSARY.md", "CHANGELOG.md", "docs")
SETTING = re.compile(r"\bSALVAGE_[A-Z_]*[A-Z]\b")
FAMILIES = {"SALVAGE_OIDC"}
OPERATORS = {"SALVAGE_DATABASE_PASSWORD", "SALVAGE_TEST_POSTGRES"}
"""Variables of the compose file and of the tests, which the program does not read."""
BLOCK = re.compile(r"<!-- (file|builds|breaks):? (.+?) -->\n```\w+\n(.*?)```", re.DOTALL)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def headings(name: str) -> list[str]:
    unfenced = re.sub(r"^```.*?^```", "", page(name), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+?)$", unfenced, flags=re.MULTILINE)


def section(name: str, heading: str) -> str:
    """Return the text under a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", page(name), re.DOTALL | re.MULTILINE)
    assert found, f"{name} has no heading {heading}"
    return found.group(1)


def pages() -> list[Path]:
    listed = [ROOT / name for name in PAGES]
    return [p for top in listed for p in (sorted(top.rglob("*.md")) if top.is_dir() else [top])]


# settings


class Asked(dict[str, str]):
    """An empty environment that remembers which variables were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return False


def asked_for(settings: Any) -> set[str]:
    environ = Asked()
    settings.from_environment(environ)
    return environ.names


SETTINGS = asked_for(ServingSettings) | asked_for(RegistrySettings)


def test_the_page_of_settings_has_a_heading_for_each_and_for_no_other():
    stated = {heading for heading in headings("docs/settings.md") if heading.isupper()}
    assert stated == SETTINGS


def test_settings_that_the_code_names_are_settings():
    sources = [
        p for room in ("features", "models", "training", "serving") for p in (ROOT / room).rglob("*.py")
    ]
    named = {name for path in sources for name in SETTING.findall(path.read_text(encoding="utf-8"))}
    assert named - FAMILIES <= SETTINGS


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_settings_that_pages_name_exist(path):
    named = set(SETTING.findall(path.read_text(encoding="utf-8")))
    assert named <= SETTINGS | FAMILIES | OPERATORS


def test_defaults_that_the_page_states_are_those_of_the_code():
    for field, setting in NUMBERS.items():
        default = getattr(ServingSettings, field)
        assert f"Default: `{default}`" in section("docs/settings.md", setting)
    assert f"Default: `{RATE}`" in section("docs/settings.md", "SALVAGE_RATE")
    assert f"Under `{FLOOR_DAYS}`" in section("docs/settings.md", "SALVAGE_RETENTION_DAYS")


# commands


def commands(group: Any, path: str = "salvage") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(salvage.commands())))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_that_names_its_options_and_an_example(name):
    text = section("docs/commands.md", name)
    if hasattr(COMMANDS[name], "commands"):
        return
    options = [o for p in COMMANDS[name].params for o in p.opts if o.startswith("--") and o != "--help"]
    assert [option for option in options if f"`{option}`" not in text] == []
    assert f".venv/bin/{name} " in text.replace("\n", " ")


def test_commands_page_names_no_command_that_is_gone():
    stated = {heading for heading in headings("docs/commands.md") if heading.startswith("salvage ")}
    assert stated == set(COMMANDS)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_shown_commands_exist_with_their_options(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in (line for line in lines if line.startswith(".venv/bin/salvage ")):
        words = line.split(".venv/bin/", 1)[1].split()
        name = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
        assert name in COMMANDS, line
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


# errors


def test_every_problem_has_a_heading_and_its_status():
    for status, slug, _ in errors.STATUSES.values():
        assert section("docs/errors.md", slug).strip().startswith(f"Status {status}.")


def test_every_problem_of_the_framework_has_a_heading(tmp_path):
    app = create_app(ServingSettings(home=tmp_path), Sequencer(make_store(tmp_path / "audit.db")))

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            asked = [await client.get(path) for path in ("/nowhere", "/fails", "/teapot")]
            return [*asked, await client.put("/health/live")]

    asked = asyncio.run(ask())
    slugs = {answer.json()["type"].removeprefix(errors.TYPE) for answer in asked}
    assert slugs == {"not-found", "internal", "refused", "method-not-allowed"}
    assert slugs <= set(headings("docs/errors.md"))


def test_the_page_of_errors_names_no_problem_that_is_gone():
    stated = set(re.findall(r"^### ([a-z-]+)$", page("docs/errors.md"), re.MULTILINE))
    known = {slug for _, slug, _ in errors.STATUSES.values()} | {"internal", "method-not-allowed", "refused"}
    assert stated == known | {"not-http"}


def test_every_exit_code_has_a_heading():
    for code in (0, salvage.FAILED, salvage.BAD_INPUT):
        assert f"Exit code {code}" in headings("docs/errors.md")


# the interface


def test_every_route_has_a_heading():
    paths = described()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    stated = {heading for heading in headings("docs/api.md") if re.match(r"(GET|POST) /", heading)}
    assert stated == routes


def field_names(kind: Any) -> set[str]:
    """Return the names of a dataclass's fields and of those inside them."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return set(hints).union(*(field_names(hint) for hint in hints.values()))
    return set().union(*(field_names(inner) for inner in typing.get_args(kind)))


def test_every_status_of_the_native_api_is_explained():
    paths = described()["paths"]
    native = [operation for path, by in paths.items() if path.startswith("/v1") for operation in by.values()]
    given = {status for operation in native for status in operation["responses"]}
    assert given == set(re.findall(r"\b[2-5]\d\d\b", section("docs/api.md", "Statuses")))


@pytest.mark.parametrize("scope", AccessScope)
def test_every_scope_is_explained(scope):
    assert f"\n| `{scope}` |" in section("docs/access.md", "Nobody without credentials")
    assert f"`{scope}`" in section("docs/commands.md", "salvage keys create")
    assert f"`{scope}`" in section("GLOSSARY.md", "Scope")


def test_every_metric_is_described():
    exposed = re.findall(r"^# TYPE (\w+) ", Metrics().exposition().decode(), re.MULTILINE)
    kinds = {name for name in exposed if not name.endswith("_created")}
    stated = set(re.findall(r"^\| `(salvage_\w+)` \|", section("docs/deployment.md", "Prometheus"), re.M))
    assert stated == kinds


@pytest.mark.parametrize(
    "kind",
    [
        contract.Answer,
        contract.ExplanationsAnswer,
        contract.ComparisonAnswer,
        contract.RecordedAnswer,
        contract.ModelList,
        contract.ModelDetail,
        contract.Health,
        audit.AuditHead,
        audit.AuditPage,
        audit.AuditEntryDetail,
        audit.InclusionAnswer,
        ConsistencyProof,
    ],
)
def test_every_field_of_an_answer_is_described(kind):
    text = page("docs/api.md")
    assert {name for name in field_names(kind) if f"`{name}`" not in text} == set()


def test_the_shown_request_is_accepted():
    request = contract.parse_request(shown_json("docs/api.md", "POST /v1/predictions"))
    protocol = load_protocol(str(request.model).removeprefix("salvage-"))
    assert request.horizon in protocol.horizons
    read_patient(request.patient, dictionary=load_dictionary().slice(protocol.predictors))


def test_the_shown_explanation_request_is_accepted():
    request = contract.parse_explanation(shown_json("docs/api.md", "POST /v1/explanations"))
    protocol = load_protocol(str(request.model).removeprefix("salvage-"))
    assert set(request.horizons) <= set(protocol.horizons)
    read_patient(request.patient, dictionary=load_dictionary().slice(protocol.predictors))


def test_the_shown_comparison_request_is_accepted():
    request = contract.parse_comparison(shown_json("docs/api.md", "POST /v1/comparisons"))
    for plan in request.plans:
        assert {load_dictionary()[name].group for name in plan} == {GROUP}
        read_patient({**request.patient, **plan}, dictionary=load_dictionary())


def shown_json(name: str, heading: str) -> bytes:
    """Return the first JSON that a section shows."""
    found = re.search(r"```json\n(.*?)```", section(name, heading), re.DOTALL)
    assert found
    return found.group(1).encode()


def test_the_shown_tensors_are_tensors():
    asked = json.loads(shown_json("docs/inference.md", "POST /v2/models/{name}/versions/{version}/infer"))
    assert {tensor["name"] for tensor in asked["inputs"]} <= set(load_dictionary().names)
    assert all(len(tensor["data"]) == tensor["shape"][0] for tensor in asked["inputs"])


def test_the_proxy_of_the_deployment_page_knows_the_service():
    text = section("docs/deployment.md", "Encryption")
    named = set(re.findall(r"location = (\S+)", text))
    assert named == {"/metrics", "/v1/batches"} <= set(described()["paths"])
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) * 1024**2 == ServingSettings.largest_chart
    for field in ("Strict-Transport-Security", "proxy_request_buffering off", "proxy_buffering off"):
        assert field in text


def test_the_shown_answer_is_one():
    *_, text = re.findall(r"```json\n(.*?)```", section("docs/api.md", "POST /v1/predictions"), re.DOTALL)
    api = described()
    schema = {"$ref": "#/components/schemas/Answer", "components": api["components"]}
    answer = json.loads(text)
    jsonschema.Draft202012Validator(schema).validate(answer)
    (endpoint,) = answer["prediction"]["endpoints"]
    for outcome in endpoint["outcomes"]:
        for at in outcome["probabilities"]:
            assert 0 <= at["low"] <= at["probability"] <= at["high"] <= 1


def test_every_endpoint_and_outcome_is_named():
    text = section("docs/api.md", "The prediction")
    for endpoint in ENDPOINTS.values():
        (row,) = re.findall(
            rf"^\| `{endpoint.name}` \| {endpoint.kind.replace('_', ' ')} \| (.+) \|$", text, re.M
        )
        assert re.findall(r"`(\w+)`", row) == list(endpoint.labels)


def test_every_ready_protocol_is_listed_with_its_cohorts():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", section("docs/models.md", "The protocols"), re.M))
    assert set(protocol_names()) <= set(rows)
    for name in protocol_names():
        assert set(re.findall(r"`([\w-]+)`", rows[name])) == set(load_protocol(name).cohorts)


# the dictionary


def test_the_dictionary_page_is_current():
    current = dictionary_page(load_dictionary())
    assert page("docs/dictionary.md") == current, f"docs/dictionary.md is out of date; run: {REFRESH}"


# recipes


def test_every_recipe_key_has_a_heading():
    assert set(headings("docs/recipes-reference.md")) >= grammar.KEYS


def shown(kind: str) -> list[tuple[str, str]]:
    return [(about, text) for k, about, text in BLOCK.findall(page("docs/recipes.md")) if k == kind]


def shown_output(folder: Path, recipe_file: str, table: str) -> str:
    """Return what ``salvage cohort build`` prints, eighty columns wide."""
    said = io.StringIO()
    console = Console(file=said, width=80)
    try:
        cohort = build_cohort(recipe.load_recipe(str(folder / recipe_file)), source=folder / table)
        display.attrition(console, display.cohort_summary(cohort))
    except InvalidInput as error:
        salvage._explain(error, console)
    return tidy(said.getvalue())


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files that the page shows."""
    for name, text in shown("file"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("about", "output"), shown("builds"))
def test_shown_recipes_build_the_counts_that_the_page_states(files, about, output):
    assert shown_output(files, *about.split()) == tidy(output)


def test_the_tutorial_explains_the_counts_that_the_build_gives(files):
    cohort = build_cohort(recipe.load_recipe(str(files / "hospital.yaml")), source=files / "patients.csv")
    attrition, text = (
        cohort.provenance[0].attrition,
        section("docs/recipes.md", "7. Build, and read the attrition"),
    )
    deaths = int(cohort.values["died"].sum())
    assert f"{attrition.read} rows were read" in text
    assert [step.excluded for step in attrition.exclusions] == [1, 1]
    assert f"{len(cohort)} patients are kept, and {deaths} of them died" in text


def test_the_tutorial_computes_the_values_that_the_build_gives(files):
    cohort = build_cohort(recipe.load_recipe(str(files / "hospital.yaml")), source=files / "patients.csv")
    first, text = cohort.patient(0), section("docs/recipes.md", "8. Check a patient by hand")
    for name in ("months_diagnosis_to_relapse", "months_followed", "age"):
        assert f"= {first[name]:.2f} " in text


def test_the_tutorial_breaks_something():
    assert len(shown("breaks")) >= 4


@pytest.mark.parametrize(("about", "output"), shown("breaks"))
def test_shown_mistakes_are_refused_in_these_words(files, about, output):
    name, change = about.split(": ", 1)
    before, after = change.split(" => ")
    original = (files / name).read_text(encoding="utf-8")
    assert before in original
    (files / name).write_text(original.replace(before, after), encoding="utf-8")
    assert shown_output(files, "hospital.yaml", "patients.csv") == tidy(output)


def test_the_steps_of_the_tutorial_are_parts_of_the_whole_recipe():
    whole = dict(shown("file"))["hospital.yaml"]
    for number in (
        "2. Who this is",
        "3. Time zero and the patient",
        "4. Who belongs",
        "5. What the columns mean",
    ):
        for block in re.findall(r"```yaml\n(.*?)```", section("docs/recipes.md", number), re.DOTALL):
            assert [line for line in block.splitlines() if line not in whole] == []


def test_the_shown_protocol_fits_the_shown_cohort(files):
    protocol = load_protocol(str(files / "hospital-relapse.yaml"))
    cohort = build_cohort(recipe.load_recipe(str(files / "hospital.yaml")), source=files / "patients.csv")
    assert set(protocol.predictors) <= set(cohort.dictionary.names)


# glossary, decisions, links


def test_the_glossary_is_alphabetical():
    terms = [term.casefold() for term in headings("GLOSSARY.md")[1:]]
    assert terms == sorted(set(terms))


def test_decisions_are_numbered_and_have_their_parts():
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        title, *parts = headings(path.relative_to(ROOT).as_posix())
        assert title.startswith(path.name[:4] + " ")
        assert parts == ["Context", "Decision", "Consequences"]


def anchors(path: Path) -> set[str]:
    stated = headings(path.relative_to(ROOT).as_posix())
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in stated}


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_link_leads_nowhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        led_to = (path.parent / target).resolve() if target else path
        assert led_to.exists(), link
        assert not anchor or anchor in anchors(led_to), link


def test_json_blocks_are_json():
    for path in pages():
        for block in re.findall(r"```json\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            json.loads(block)
