"""An endpoint by a name nobody has heard of is one declaration: nothing is read off its name."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.endpoints import ENDPOINTS, PredictedOutcome
from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from tests.lib.fitting import PLAN, small_bundle, small_evaluation
from tests.lib.patients import BREAST, protocol

OS = "overall_survival"
NEW = {
    "treatment_free_survival": ("Treatment-free survival", "being alive without another treatment"),
    "time_to_next_treatment": ("Time to next treatment", "not having had another treatment"),
}
PATIENTS = (
    BREAST,
    {"disease": "colorectal_cancer", "age": 71.0},
    {"disease": "breast_cancer"},
    BREAST | {"positive_lymph_nodes": 25, "months_diagnosis_to_relapse": 2.0},
)


@pytest.fixture(scope="module", autouse=True)
def declared():
    """Declare the new endpoints as copies of overall survival that read the same fields."""
    with pytest.MonkeyPatch.context() as patched:
        for name, (title, label) in NEW.items():
            outcome = PredictedOutcome(name, label)
            copy = replace(ENDPOINTS[OS], name=name, title=title, outcomes=(outcome,))
            patched.setitem(ENDPOINTS, name, copy)
        yield


@pytest.fixture(scope="module")
def renamed(cohort: Cohort) -> ModelBundle:
    """A bundle fitted on the same patients for both, the first one leading."""
    return small_bundle(cohort, replace(protocol(), endpoints=tuple(NEW)))


def in_the_old_words(said: object, name: str) -> object:
    """Return a result as JSON values, a new endpoint's words replaced by those of overall survival."""
    title, label = NEW[name]
    old = ENDPOINTS[OS]
    text = json.dumps(asdict(said))  # shortest decimals that give the same bits back
    for new, known in ((title, old.title), (label, old.labels[OS]), (name, OS)):
        text = text.replace(new, known)
    return json.loads(text)


def test_a_new_endpoint_is_fitted_with_the_same_bytes(bundle, renamed):
    """Model, trees, intervals, background and bounds; only the declaration has another name."""
    old, new = bundle.files(), renamed.files()
    for name in NEW:
        own = {file.removeprefix(f"{name}."): new[file] for file in new if file.startswith(f"{name}.")}
        theirs = {file.removeprefix(f"{OS}."): old[file] for file in old if file.startswith(f"{OS}.")}
        assert set(own) == set(theirs)
        differing = {file for file in own if own[file] != theirs[file]}
        assert differing == {"endpoint.json", "model.json"}
        declared = json.loads(own["endpoint.json"])
        assert declared == {
            "endpoint": json.loads(json.dumps(ENDPOINTS[name].as_dict())),
            "estimator": "cross_fitted",
        }
        assert own["model.json"].replace(name.encode(), OS.encode()) == theirs["model.json"]


@pytest.mark.parametrize("at", range(len(PATIENTS)))
@pytest.mark.parametrize("horizon", [None, 12.0, 36.0])
def test_every_number_of_an_answer_is_that_of_overall_survival_to_the_last_bit(bundle, renamed, at, horizon):
    """Probabilities with their intervals, curve, median, lower bound, contributions on both scales."""
    patient = PATIENTS[at]
    old = bundle.predict(bundle.validate(patient, horizon=horizon), horizon=horizon)
    new = renamed.predict(renamed.validate(patient, horizon=horizon), horizon=horizon)
    (known,) = old.endpoints
    expected = json.loads(json.dumps(asdict(known)))
    for name, said in zip(NEW, new.endpoints, strict=True):
        assert said.endpoint == name
        assert in_the_old_words(said, name) == expected
    (outcome,) = new.endpoints[0].outcomes
    assert outcome.median is not None
    assert outcome.at_least is not None
    assert len(outcome.probabilities) == len(protocol().horizons)
    leading = next(iter(NEW))
    for told, before in zip(new.next_tests, old.next_tests, strict=True):
        assert in_the_old_words(told, leading) == asdict(before)


def test_a_whole_cohort_has_the_same_curves(bundle, renamed, cohort):
    months = np.linspace(0.0, 70.0, 71)
    expected = bundle.probabilities(cohort, OS, months)
    for name in NEW:
        np.testing.assert_array_equal(renamed.probabilities(cohort, name, months), expected)


def test_held_out_performance_is_the_same(cohort):
    study = replace(protocol(), endpoints=tuple(NEW)[:1])
    _, new = small_evaluation(cohort, study)
    _, old = small_evaluation(cohort)
    (found,), (expected,) = new.as_dict().values(), old.as_dict().values()
    assert found == expected
    assert PLAN.evaluation_folds == 3, "on patients held out"


def test_the_bundle_of_a_new_endpoint_is_written_and_read_like_any(renamed, tmp_path):
    renamed.write(tmp_path / "bundle")
    again = read_bundle(tmp_path / "bundle")
    assert [endpoint.endpoint for endpoint in again.endpoints] == [ENDPOINTS[name] for name in NEW]
    for patient in PATIENTS:
        assert again.answer(patient) == renamed.answer(patient)
    assert again.card.endpoints == tuple(NEW)
