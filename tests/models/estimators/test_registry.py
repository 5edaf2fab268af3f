"""The register: this project's estimators by type and kind, what a package adds, and what each declares."""

import sys
from dataclasses import fields
from importlib.metadata import distributions
from types import ModuleType

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import COMPETING_RISKS, ENDPOINTS, RESPONSE, SURVIVAL
from features.errors import InvalidInput
from models.estimators.competing import CrossFittedCompeting
from models.estimators.cross_fitted import CrossFitted, CrossFittedCox
from models.estimators.interface import FitSettings
from models.estimators.registry import DEFAULT, OWN, estimator_class
from models.estimators.response import CrossFittedResponse
from models.estimators.xgboost_aft import XGBoostAFT

REGISTERED = {
    ("cross_fitted", SURVIVAL): CrossFitted,
    ("cross_fitted", COMPETING_RISKS): CrossFittedCompeting,
    ("cross_fitted", RESPONSE): CrossFittedResponse,
    ("cox", SURVIVAL): CrossFittedCox,
    ("xgboost_aft", SURVIVAL): XGBoostAFT,
}


@pytest.mark.parametrize(("type_", "kind"), REGISTERED)
def test_a_type_and_a_kind_name_one_class(type_, kind):
    found = estimator_class(type_, kind)
    assert found is REGISTERED[type_, kind]
    assert (found.type, kind in found.kinds) == (type_, True)


def test_the_default_fits_every_kind_of_endpoint_and_all_of_ours_are_tested_here():
    for endpoint in ENDPOINTS.values():
        assert estimator_class(DEFAULT, endpoint.kind).type == DEFAULT
    assert sum(map(len, OWN.values())) == len(REGISTERED)


@pytest.mark.parametrize("estimator", REGISTERED.values(), ids=lambda e: e.__name__)
def test_every_estimator_is_made_with_the_settings_and_says_what_it_is(estimator):
    assert {f.name for f in fields(FitSettings)} <= {f.name for f in fields(estimator)}
    made = estimator(outcomes=("a",), folds=4, repeats=2, seed=9)
    assert (made.outcomes, made.folds, made.repeats, made.seed) == (("a",), 4, 2, 9)
    assert made.description.endswith(".")
    assert made.unlearned >= 0.0
    assert callable(estimator.read)


@pytest.mark.parametrize(("type_", "kind"), [("cox", RESPONSE), ("nothing", SURVIVAL), ("", SURVIVAL)])
def test_what_is_not_registered_is_refused_and_what_is_named(type_, kind):
    known = sorted(name for name, of in REGISTERED if of == kind)
    with pytest.raises(InvalidInput) as refused:
        estimator_class(type_, kind)
    (problem,) = refused.value.problems
    assert problem.field == "estimators"
    assert f"{type_} is no estimator of the kind {kind}" in str(problem)
    assert ", ".join(known) in str(problem)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that adds an estimator, as a hospital's would."""
    module = ModuleType("hospital_estimators")

    class Ours(CrossFittedCox):
        type = "ours"

    module.Ours = Ours
    monkeypatch.setitem(sys.modules, "hospital_estimators", module)
    info = tmp_path / "hospital_estimators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hospital-estimators\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[salvage.estimators]\nours = hospital_estimators:Ours\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "hospital-estimators" in {found.metadata["Name"] for found in distributions()}
    return Ours


def test_a_package_adds_an_estimator_by_its_entry_point(package):
    assert estimator_class("ours", SURVIVAL) is package
    assert estimator_class("cox", SURVIVAL) is CrossFittedCox
    with pytest.raises(InvalidInput, match="cox, cross_fitted, ours, xgboost_aft"):
        estimator_class("nothing", SURVIVAL)
    made = package(outcomes=("survival",), folds=3, repeats=1, seed=0)
    rng = np.random.default_rng(0)
    outcome = Outcome(rng.exponential(12.0, 60), np.arange(60) % 2 == 0)
    fitted = made.cross_fit(rng.normal(size=(60, 2)), np.zeros(60, dtype=np.int64), outcome)
    assert package.read(fitted.model.files()).outcomes == ("survival",)
