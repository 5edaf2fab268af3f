"""An estimator that another's package adds, from its entry point to a served answer.

Nothing of this project is touched for it. The package has two files that somebody writes: the module with
the estimator, and the metadata with its entry point (``pyproject.toml``, from which an installer makes the
``.dist-info`` that stands here in its place).
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.censoring import Outcome
from features.dictionary import load_dictionary
from features.endpoints import RESPONSE, SURVIVAL
from features.errors import BundleRefused, InvalidInput
from features.protocol import StudyProtocol
from models.bundle.manifest import MANIFEST
from models.bundle.reading import read_bundle
from models.estimators.registry import OWN, estimator_class
from models.estimators.scikit import SurvivalEstimator
from models.explanation import sampled
from models.explanation.attribution import EXACT, PROBABILITY
from models.explanation.sampled import SAMPLED
from tests.lib.fitting import small_bundle
from tests.lib.patients import BREAST
from tests.models.bundle.hostile import put, put_nested, refuse
from tests.models.estimators.tables import made, outcome
from tests.models.registry.noise import NOISE
from tests.serving.several import EXAMINED, several_cohort, study

pytestmark = NOISE
OS, MODULE = "overall_survival", "salvage_weibull"
PROJECT = Path(__file__).parents[3]
WRITTEN = {
    f"{MODULE}.py": Path(__file__).with_name("weibull.py").read_text(),
    f"{MODULE}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n",
    f"{MODULE}-1.0.dist-info/entry_points.txt": f"[salvage.estimators]\nweibull = {MODULE}:Weibull\n",
}
PATIENTS = (
    EXAMINED,
    BREAST,
    {"disease": "colorectal_cancer", "age": 60.0, "albumin": 30.0},
    {"disease": "breast_cancer"},
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package's files in a folder of their own, on the path as an installed one is."""
    folder = tmp_path_factory.mktemp("site-packages")
    for name, content in WRITTEN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        yield folder
    sys.modules.pop(MODULE, None)


@pytest.fixture(scope="module")
def asked() -> StudyProtocol:
    """A protocol that names the estimator for one of its endpoints."""
    several = replace(study(), endpoints=(OS, "response"))
    declared = several.as_dict() | {"estimators": {OS: "weibull"}}
    return StudyProtocol.from_dict(declared, dictionary=load_dictionary())


@pytest.fixture(scope="module")
def added(package, asked):
    """The bundle that training made with it."""
    return small_bundle(several_cohort(), asked)


@pytest.fixture
def folder(added, tmp_path):
    added.write(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="module")
def estimator(package):
    return estimator_class("weibull", SURVIVAL)


def test_three_files_add_it_and_none_of_the_project_is_touched(package, estimator):
    there = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert {path for path in there if not path.endswith(".pyc")} == set(WRITTEN)
    assert len(WRITTEN) == 3
    assert estimator.__module__ == MODULE
    assert "weibull" not in OWN
    for room in ("models", "training", "serving"):
        for path in (PROJECT / room).rglob("*.py"):
            assert "weibull" not in path.read_text().lower(), f"{path} knows it"


def test_it_fits_the_kinds_of_endpoints_that_it_says(estimator):
    assert estimator.kinds == {SURVIVAL}
    with pytest.raises(InvalidInput, match=f"weibull is no estimator of the kind {RESPONSE} here"):
        estimator_class("weibull", RESPONSE)
    with pytest.raises(InvalidInput, match="use cox, cross_fitted, weibull, xgboost_aft"):
        estimator_class("another", SURVIVAL)


UNSOUND = {
    "absent": ("absent:Ours", "ours cannot be imported", "mend or remove its package"),
    "without the class": ("json:Ours", "ours cannot be imported", "mend or remove its package"),
    "without anything": (
        "json:JSONDecoder",
        "ours does not declare type, kinds, description, unlearned, exact, read, cross_fit",
        "see models/estimators/interface.py",
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_package_is_refused_before_anything_is_fitted_and_spoils_nothing_else(
    tmp_path, monkeypatch, name
):
    place, fault, remedy = UNSOUND[name]
    (tmp_path / "ours-1.0.dist-info").mkdir()
    (tmp_path / "ours-1.0.dist-info" / "entry_points.txt").write_text(
        f"[salvage.estimators]\nours = {place}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput) as refused:
        estimator_class("ours", SURVIVAL)
    (problem,) = refused.value.problems
    assert problem.problem.startswith(fault)
    assert problem.remedy == remedy
    assert estimator_class("cox", SURVIVAL).type == "cox"
    with pytest.raises(InvalidInput, match="another is no estimator of the kind survival here"):
        estimator_class("another", SURVIVAL)


# --- parts -----------------------------------------------------------------------------------------------


def weibull_times(count, *, seed):
    """Draw times of a Weibull regression with shape 1.5; the second column does nothing."""
    rng = np.random.default_rng(seed)
    X, strata = rng.normal(size=(count, 2)), rng.integers(0, 2, count)
    scale = np.exp(-(0.8 * X[:, 0] + np.array([-4.0, -5.0])[strata]) / 1.5)
    event, censored = scale * rng.weibull(1.5, count), rng.uniform(5.0, 60.0, count)
    return X, strata, Outcome(np.minimum(event, censored), event <= censored)


def test_it_learns_what_it_was_drawn_from(estimator):
    model = estimator(("survival",)).fit(*weibull_times(4000, seed=1))
    assert model.shape == pytest.approx(1.5, abs=0.06)
    np.testing.assert_allclose(model.slopes / model.scales, [0.8, 0.0], atol=0.06)
    np.testing.assert_allclose(model.levels, [-4.0, -5.0], atol=0.25)


def test_its_members_are_refits_without_each_fold_and_predict_the_fold_left_out(estimator):
    X, strata, times = weibull_times(120, seed=2)
    X[::9, 1] = np.nan
    made_of = estimator(("survival",), folds=3, repeats=2, seed=4)
    found, months = made_of.cross_fit(X, strata, times), np.array([6.0, 24.0])
    assert len(found.members) == 6
    assert found.fold_share == pytest.approx(1.0 / 3.0)
    by_hand = np.zeros((120, 1, 2))
    for repeat, at in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)):
        out = found.held_out.folds[repeat] == at
        member = made_of.fit(X[~out], strata[~out], times.take(~out))
        np.testing.assert_array_equal(found.members[3 * repeat + at].slopes, member.slopes)
        by_hand[out] += member.predict(X[out], strata[out], months) / 2.0
    np.testing.assert_allclose(found.held_out.probabilities(np.arange(120), months), by_hand, atol=1e-15)
    some = np.array([7, 3, 100])
    np.testing.assert_allclose(found.held_out.probabilities(some, months), by_hand[some], atol=1e-15)


def test_scikit_learn_s_conventions_come_with_it(estimator):
    table, duration, event, _ = made(200)
    model = SurvivalEstimator("weibull", folds=3).fit(table, outcome(duration, event))
    assert isinstance(model.model_, sys.modules[MODULE].WeibullModel)
    assert model.score(table, outcome(duration, event)) > 0.65


# --- through training ------------------------------------------------------------------------------------


def test_training_fits_it_where_the_protocol_names_it_and_the_default_elsewhere(added, estimator):
    survival, response = added.endpoints
    assert (survival.estimator, response.estimator) == ("weibull", "cross_fitted")
    assert isinstance(survival.model, sys.modules[MODULE].WeibullModel)
    assert dict(added.protocol.estimators) == {OS: "weibull"}


def test_it_is_judged_on_held_out_patients_beside_every_baseline(added):
    judged = added.card.performance["endpoints"][OS]
    models = judged["all"]
    assert {"model", "kaplan_meier"} < set(models)
    assert models["model"]["uno_c"]["value"] > 0.6


def test_the_card_says_what_it_is_and_how_it_is_explained(added, estimator):
    assert estimator.description in added.card.method
    assert SAMPLED in added.card.method
    assert EXACT in added.card.method, "the response's estimator is explained exactly"


def test_its_bundle_answers_after_reading_as_before_byte_for_byte(added, folder, tmp_path):
    again = read_bundle(folder)
    assert type(again.endpoints[0].model) is type(added.endpoints[0].model)
    for patient in PATIENTS:
        for horizon in (None, 12.0):
            assert again.answer(patient, horizon=horizon) == added.answer(patient, horizon=horizon)
    again.write(tmp_path / "again")
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()
    assert (folder / f"{OS}.weibull.json").is_file()
    assert not list(folder.glob(f"{OS}.booster-*"))


def test_many_are_answered_byte_for_byte_as_each_alone(added):
    assert added.answers(PATIENTS) == [added.answer(patient) for patient in PATIENTS]


def explanation(bundle, patient, name=OS, horizon=None):
    said = bundle.predict(bundle.validate(patient, horizon=horizon), horizon=horizon)
    said = next(endpoint for endpoint in said.endpoints if endpoint.endpoint == name)
    return said.outcomes[0].explanation


def test_an_answer_says_that_it_is_explained_by_sampling_and_how_surely(added):
    told = explanation(added, EXAMINED)
    assert told.method == SAMPLED
    for scale in told.scales:
        total = scale.reference + sum(c.contribution for c in scale.contributions)
        assert total == pytest.approx(scale.prediction, abs=1e-6)
        assert sum(g.contribution for g in scale.groups) == pytest.approx(total - scale.reference, abs=1e-9)
    assert 0.0 < told.scales[0].standard_error < 0.02
    exact = explanation(added, EXAMINED, "response")
    assert (exact.method, exact.scales[0].standard_error) == (EXACT, None)


def test_on_the_link_s_scale_contributions_are_the_known_terms(added):
    """Log cumulative hazards are sums by column: a predictor adds how far it is from the disease's mean one.

    At 12 months nobody is so surely dead that the link, kept finite, bends the sum. All is known of the
    patient, so there is one row.
    """
    own, patient = added.endpoints[0], added.validate(EXAMINED)
    rows, (stratum,) = added.completion.complete_cohort(patient), added.strata(patient)
    (x,), model, background = rows.X, own.model, own.background.of(int(stratum))

    def terms(X):
        return np.nan_to_num((X - model.means) / model.scales, nan=0.0) * model.slopes

    by_column = terms(x) - background.weights @ terms(background.X)
    expected = np.bincount(own.owners, by_column, minlength=len(added.dictionary.fields))
    fields = added.dictionary.fields
    expected = [e for e, field in zip(expected, fields, strict=True) if field.applies(EXAMINED["disease"])]
    scale = explanation(added, EXAMINED, horizon=12.0).scales[1]
    assert scale.scale == own.endpoint.link
    found = [contribution.contribution for contribution in scale.contributions]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert scale.standard_error < 1e-4, "every order of the predictors gives the same"


def test_the_stated_standard_error_is_the_sampling_s(added, monkeypatch):
    """Forty times as many permutations move no contribution by more than four of the stated errors."""
    few = explanation(added, EXAMINED).scales[0]
    monkeypatch.setattr(sampled, "PERMUTATIONS", 40 * sampled.PERMUTATIONS)
    many = explanation(added, EXAMINED).scales[0]
    assert few.scale == PROBABILITY
    apart = [
        f.contribution - m.contribution for f, m in zip(few.contributions, many.contributions, strict=True)
    ]
    assert 0.0 < np.abs(apart).max() < 4.0 * few.standard_error
    assert many.standard_error == pytest.approx(few.standard_error / np.sqrt(40.0), rel=0.3)


def test_the_next_test_is_the_one_that_moves_its_answer(added):
    albumin, liver = added.predict(added.validate(BREAST)).next_tests
    assert (albumin.predictor, liver.predictor) == ("albumin", "site_liver")
    assert albumin.expected_change > 4.0 * liver.expected_change
    low, high = (
        added.predict(added.validate(BREAST | {"albumin": value})).endpoints[0].outcomes[0].probabilities[1]
        for value in (25.0, 50.0)
    )
    assert low.probability - 0.01 < albumin.low < 0.1
    assert 0.7 < albumin.high < high.probability + 0.01


def test_an_answer_says_that_its_intervals_were_not_measured(added):
    notice = json.loads(added.answer(EXAMINED))["notice"]
    (name,) = (one.endpoint.title for one in added.endpoints if one.estimator == "weibull")
    assert notice.endswith(f"was not measured for this model of: {name}.")


# --- without it ------------------------------------------------------------------------------------------


def in_a_process(code, *path):
    """Run code that knows the project and some folders more; return what it wrote, and its errors."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, *path)))}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)
    return done.stdout, done.stderr.decode()


def test_a_process_with_the_package_gives_the_same_bytes(added, folder, package):
    code = (
        "import sys, json, pathlib\n"
        "from models.bundle.reading import read_bundle\n"
        f"bundle = read_bundle(pathlib.Path({str(folder)!r}))\n"
        f"sys.stdout.buffer.write(bundle.answer(json.loads({json.dumps(EXAMINED)!r})))\n"
    )
    out, errors = in_a_process(code, package)
    assert out == added.answer(EXAMINED), errors


def test_a_process_without_the_package_refuses_the_bundle_and_names_the_estimator(folder):
    code = (
        "import pathlib\n"
        "from features.errors import BundleRefused\n"
        "from models.bundle.reading import read_bundle\n"
        "try:\n"
        f"    read_bundle(pathlib.Path({str(folder)!r}))\n"
        "except BundleRefused as refused:\n"
        "    print(refused)\n"
    )
    out, errors = in_a_process(code)
    said = out.decode()
    assert not errors
    assert "weibull is no estimator of the kind survival here" in said
    assert "install the package that adds it, or use cox, cross_fitted, xgboost_aft" in said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("shape",), 0.0), (("shape",), 1e999), (("shape",), "x"), (("slopes",), []), (("slopes", 0), 1e999),
        (("levels",), [0.0]), (("scales", 0), 0.0), (("outcomes",), []), (("outcomes",), ["another"]),
    ],
)  # fmt: skip
def test_its_own_check_refuses_a_model_that_is_none(folder, path, value):
    put_nested(folder, f"{OS}.weibull.json", path, value)
    refuse(folder)


def test_a_changed_file_of_its_is_refused_by_name(folder):
    name = f"{OS}.weibull.json"
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(BundleRefused, match=f"{name} was changed"):
        read_bundle(folder)


def test_a_model_of_another_estimator_s_files_is_refused(folder):
    shutil.copy(folder / f"{OS}.weibull.json", folder / "kept")
    content = (folder / "kept").read_bytes()
    (folder / "kept").unlink()
    put(folder, f"{OS}.weibull.json", None)
    refuse(folder)
    put(folder, f"{OS}.weibull.json", content)
    put_nested(folder, f"{OS}.endpoint.json", ("estimator",), "cross_fitted")
    refuse(folder)
