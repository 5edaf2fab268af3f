"""Registry settings: read from an environment that is handed in, with a local default."""

from pathlib import Path

from models.bundle.signature import Keys
from models.registry.settings import RegistrySettings


def test_an_empty_environment_keeps_everything_under_var():
    settings = RegistrySettings.from_environment({})
    home = Path.cwd() / "var"
    keys = Keys(home / "signing.key", home / "trusted-keys")
    assert settings == RegistrySettings(home, f"sqlite:///{home / 'mlflow.db'}", None, keys)
    assert settings.artifacts == home / "artifacts"
    assert settings.shelf == home / "shelf"


def test_the_home_moves_store_artifacts_and_shelf(tmp_path):
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path)})
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.shelf == tmp_path / "shelf"


def test_a_relative_home_is_made_absolute():
    assert RegistrySettings.from_environment({"SALVAGE_HOME": "here"}).home == Path.cwd() / "here"


def test_a_teams_server_and_the_run_that_mlflow_started_are_taken_over():
    settings = RegistrySettings.from_environment(
        {"MLFLOW_TRACKING_URI": "http://mlflow.example:5000", "MLFLOW_RUN_ID": "abc"}
    )
    assert settings.tracking_uri == "http://mlflow.example:5000"
    assert settings.run_id == "abc"


def test_an_empty_tracking_address_is_none(tmp_path):
    environ = {"SALVAGE_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": ""}
    assert RegistrySettings.from_environment(environ).tracking_uri.startswith("sqlite:///")


def test_reading_settings_makes_no_folder(tmp_path):
    RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path / "new")})
    assert not (tmp_path / "new").exists()
