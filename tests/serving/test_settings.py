"""Deployment settings, read from an environment that is given."""

from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import InvalidInput
from models.bundle.signature import Keys
from serving.settings import ServingSettings


def test_an_empty_environment_gives_the_defaults():
    home = Path("var").absolute()
    settings = ServingSettings.from_environment({})
    assert settings == replace(
        ServingSettings(home), access=settings.access, keys=Keys.from_environment({}, home=home)
    )
    assert settings.who == ServingSettings(home).who


def test_every_setting_is_read():
    environment = {
        "SALVAGE_HOME": "/srv/salvage",
        "SALVAGE_HOST": "0.0.0.0",
        "SALVAGE_PORT": "9000",
        "SALVAGE_WORKERS": "4",
        "SALVAGE_LARGEST_BODY": "1000",
        "SALVAGE_LARGEST_BATCH": "50",
        "SALVAGE_LARGEST_CHART": "70000",
        "SALVAGE_MOST_REQUESTS": "32",
        "SALVAGE_DRAIN_SECONDS": "7",
        "SALVAGE_RETENTION_DAYS": "5000",
        "SALVAGE_STORE": "postgresql://db/salvage",
        "SALVAGE_CHECKPOINTS": "/mnt/elsewhere/checkpoints",
        "SALVAGE_ORIGINS": "https://a.example, https://b.example",
    }
    settings = ServingSettings.from_environment(environment)
    assert settings == ServingSettings(
        home=Path("/srv/salvage"),
        host="0.0.0.0",
        port=9000,
        workers=4,
        largest_body=1000,
        largest_batch=50,
        largest_chart=70000,
        most_requests=32,
        drain_seconds=7,
        retention_days=5000,
        store="postgresql://db/salvage",
        checkpoints=Path("/mnt/elsewhere/checkpoints"),
        origins=("https://a.example", "https://b.example"),
        access=settings.access,
        keys=Keys.from_environment({}, home=Path("/srv/salvage")),
    )
    assert settings.audit == "postgresql://db/salvage"
    assert settings.second_place == Path("/mnt/elsewhere/checkpoints")


def test_a_server_listens_on_this_machine_only_unless_told_otherwise():
    assert ServingSettings.from_environment({}).host == "127.0.0.1"


def test_shelf_and_record_lie_in_the_home():
    settings = ServingSettings.from_environment({"SALVAGE_HOME": "/srv/salvage"})
    assert settings.shelf == Path("/srv/salvage/shelf")
    assert settings.audit == "/srv/salvage/audit.db"


def test_a_relative_home_is_fixed_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ServingSettings.from_environment({"SALVAGE_HOME": "here"})
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "here"


@pytest.mark.parametrize("value", ["abc", "", "80.5", "-1", " 80", "0x50"])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_setting(value):
    environment = {"SALVAGE_PORT": value, "SALVAGE_LARGEST_BODY": value}
    with pytest.raises(InvalidInput) as refused:
        ServingSettings.from_environment(environment)
    assert [problem.field for problem in refused.value.problems] == ["SALVAGE_PORT", "SALVAGE_LARGEST_BODY"]
