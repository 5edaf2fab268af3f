"""What many tests share. Fitting is real and done once a session."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from features.cohort import Cohort, concatenate
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from tests.lib.fitting import small_bundle
from tests.lib.patients import protocol, simulated_cohort

collect_ignore = ["benchmarks/pyfunc_model.py"]  # loaded by MLflow alone; importing it takes seconds

# The first example of a property may have to compile kernels, so no example has a deadline. The rest is
# Hypothesis' own: random examples, and failed ones kept; always the same examples where CI is set.
settings.register_profile("salvage", deadline=None)
settings.load_profile("salvage")

MODEL = "salvage-relapse-survival-synthetic"


@pytest.fixture(autouse=True)
def _global_randomness_untouched():
    """Fail a test that draws from numpy's global generator instead of an explicit one."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert (np.random.get_state()[1] == before).all(), "global random state was used"  # noqa: NPY002


@pytest.fixture(scope="session")
def cohort() -> Cohort:
    """Four hundred made patients."""
    return simulated_cohort()


@pytest.fixture(scope="session")
def real_cohort() -> Cohort:
    """Both public cohorts, as the protocol trains on them."""
    return concatenate([build_cohort(load_recipe(name)) for name in protocol().cohorts])


@pytest.fixture(scope="session")
def bundle(cohort: Cohort) -> ModelBundle:
    """A bundle fitted on the made patients."""
    return small_bundle(cohort)


@pytest.fixture
def home(tmp_path: Path, bundle: ModelBundle) -> Path:
    """A deployment's home with the small bundle as champion."""
    folder = tmp_path / "written"
    bundle.write(folder)
    shelf = Shelf(tmp_path / "home" / "shelf")
    shelf.publish(MODEL, "1", folder)
    shelf.promote(MODEL, "1")
    return tmp_path / "home"
