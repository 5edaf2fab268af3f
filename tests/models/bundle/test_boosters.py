"""The boosters of a bundle: xgboost itself reads them and gives the model's margins; others are refused."""

import json

import numpy as np
import pytest
import xgboost

from features.errors import BundleRefused
from models.bundle.reading import read_bundle
from tests.models.bundle.hostile import BOOSTER, OS, TREES, put, refuse
from tests.serving.several import several_bundle, several_cohort

COMPETING = "relapse_and_non_relapse_mortality"
BOOSTERS = {OS: 1, "progression_free_survival": 1, COMPETING: 2, "response": 1}  # one a cause


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A written bundle with endpoints of every kind."""
    folder = tmp_path_factory.mktemp("several") / "bundle"
    several_bundle().write(folder)
    return folder


def xgboosts(file, X, slots):
    """Return xgboost's margins, shape (patients, slots); a row is the slot's number and the columns."""
    booster = xgboost.Booster({"nthread": 1}, model_file=str(file))
    margins = [
        booster.predict(xgboost.DMatrix(np.column_stack([np.full(len(X), slot), X])), output_margin=True)
        for slot in range(slots)
    ]
    return np.column_stack(margins)


@pytest.mark.parametrize("name", BOOSTERS)
def test_xgboost_reads_a_booster_and_gives_the_model_s_margins(several, name):
    bundle = read_bundle(several)
    X, model = bundle.encoder.encode(several_cohort()), bundle.endpoint(name).model
    causes = (
        [len(edges) for edges in model.transform.edges] if name == COMPETING else [model.transform.scores]
    )
    files = sorted(several.glob(f"{name}.booster-*.json"))
    assert len(files) == len(causes) == BOOSTERS[name]
    theirs = np.hstack([xgboosts(file, X, slots) for file, slots in zip(files, causes, strict=True)])
    ours = model.tables.margins(X)
    assert np.isnan(X).any()
    assert np.ptp(ours, axis=0).max() > 0.1, "the trees tell patients apart"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.trees.margins(X), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BOOSTERS)
def test_scores_follow_from_the_booster_and_the_plain_arrays(several, name):
    """Whoever has xgboost and model.json alone scores patients as the bundle does."""
    bundle = read_bundle(several)
    cohort = several_cohort()
    X, strata = bundle.encoder.encode(cohort), bundle.strata(cohort)
    plain = json.loads((several / f"{name}.model.json").read_bytes())
    base, means, coefficients, stretch, shift = (
        np.array(plain[key]) for key in ("base", "means", "coefficients", "stretch", "shift")
    )
    slots = plain["transform"].get("edges", [[]])
    counts = list(map(len, slots)) if name == COMPETING else [base.shape[1]]
    files = sorted(several.glob(f"{name}.booster-*.json"))
    trees = np.hstack([xgboosts(file, X, count) for file, count in zip(files, counts, strict=True)])
    linear = np.einsum("pc,psc->ps", np.nan_to_num(X - means[strata]), coefficients[strata])
    scores = stretch * (base[strata] + linear + trees) + shift
    np.testing.assert_allclose(bundle.endpoint(name).model.scores(X, strata), scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [f"{COMPETING}.booster-{at}.json" for at in (0, 1)] + [BOOSTER])
@pytest.mark.parametrize("change", ["left out", "changed", "cut"])
def test_a_booster_left_out_or_changed_is_refused_by_name(several, tmp_path, name, change):
    several_bundle().write(tmp_path / "bundle")
    file = tmp_path / "bundle" / name
    content = file.read_bytes()
    if change == "left out":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if change == "cut" else content.replace(b"1", b"2", 1))
    said = "is missing" if change == "left out" else "was changed"
    with pytest.raises(BundleRefused) as refused:
        read_bundle(tmp_path / "bundle")
    assert str(refused.value) == f"bundle: {name} {said}; restore the bundle"


# --- changed together with the manifest ------------------------------------------------------------------


def trees_of(document):
    return document["learner"]["gradient_booster"]["model"]["trees"]


def move_the_leaves(document):
    for tree in trees_of(document):
        leaves = [node for node, left in enumerate(tree["left_children"]) if left == -1]
        for leaf in leaves:
            tree["split_conditions"][leaf] += 0.01


def move_the_margin(document):
    document["learner"]["learner_model_param"]["base_score"] = "[9E-1]"


def drop_half_the_trees(document):
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = model["trees"][::2]


def read_another_column(document):
    tree = trees_of(document)[0]
    tree["split_indices"][0] = 10**6


def read_no_column(document):
    trees_of(document)[0]["split_indices"][0] = -1


def go_round(document):
    trees_of(document)[0]["left_children"][0] = 0


def swap_default_sides(document):
    for tree in trees_of(document):
        tree["default_left"] = [1 - side for side in tree["default_left"]]


def answer_two_classes(document):
    document["learner"]["learner_model_param"]["num_class"] = "2"


def be_linear(document):
    document["learner"]["gradient_booster"]["name"] = "gblinear"


@pytest.mark.parametrize(
    "change",
    [
        move_the_leaves, move_the_margin, drop_half_the_trees, read_another_column, read_no_column, go_round,
        swap_default_sides, answer_two_classes, be_linear, lambda d: trees_of(d).clear(),
        lambda d: d.clear(), lambda d: d["learner"].clear(), lambda d: trees_of(d)[0].clear(),
    ],
)  # fmt: skip
def test_a_booster_that_is_not_the_model_s_is_refused(folder, change):
    document = json.loads((folder / BOOSTER).read_bytes())
    change(document)
    put(folder, BOOSTER, json.dumps(document).encode())
    refuse(folder)


def test_a_booster_left_out_or_added_is_refused(folder):
    booster = (folder / BOOSTER).read_bytes()
    put(folder, BOOSTER, None)
    refuse(folder)
    put(folder, BOOSTER, booster)
    put(folder, f"{OS}.booster-1.json", booster)
    refuse(folder)
    put(folder, f"{OS}.booster-1.json", None)
    put(folder, TREES, None)
    refuse(folder)


def test_one_cause_s_booster_in_the_other_s_place_is_refused(several, tmp_path):
    several_bundle().write(tmp_path / "bundle")
    relapse, death = (f"{COMPETING}.booster-{cause}.json" for cause in (0, 1))
    put(tmp_path / "bundle", relapse, (tmp_path / "bundle" / death).read_bytes())
    refuse(tmp_path / "bundle")
    put(tmp_path / "bundle", relapse, None)
    refuse(tmp_path / "bundle")
