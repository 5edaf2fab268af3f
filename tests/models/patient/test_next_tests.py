"""What to find out next: ranked as the simulated truth says, in words, by one call. Synthetic patients."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.encoder import Encoder
from models.patient.completion import Completion
from models.patient.next_tests import HISTORY, PLAN, TEST, Now, next_test, source_of
from models.prediction import NextTest

DISEASES = ("dlbcl", "ovarian_cancer")
NAMES = (
    "disease", "age", "ecog", "deauville", "tp53", "tumour_burden", "largest_lesion", "albumin", "ca_125",
    "sites_of_disease", "prior_lines",
)  # fmt: skip
SIZE = 600


def simulated(patients: int = SIZE, *, seed: int = 1) -> Cohort:
    """Make patients: burden is open, the largest lesion nearly told by it, Deauville follows age a little."""
    rng = np.random.default_rng(seed)
    dictionary = load_dictionary().slice(NAMES)
    dlbcl = rng.random(patients) < 0.6
    burden = np.exp(rng.normal(4.0, 0.8, patients))
    age = rng.normal(60.0, 12.0, patients).clip(18, 95)
    values = {
        "disease": np.where(dlbcl, *(dictionary["disease"].category_names.index(d) for d in DISEASES)),
        "age": age,
        "ecog": rng.integers(0, 3, patients),
        "deauville": np.where(dlbcl, rng.binomial(4, 1 / (1 + np.exp((60 - age) / 10))), np.nan),
        "tp53": np.where(dlbcl, rng.random(patients) < 0.1, np.nan),
        "tumour_burden": burden,
        "largest_lesion": (0.5 * burden * np.exp(rng.normal(0.0, 0.03, patients))).clip(0, 500),
        "albumin": rng.normal(38.0, 5.0, patients).clip(15, 55),
        "ca_125": np.where(dlbcl, np.nan, np.exp(rng.normal(5.0, 1.0, patients))),
        "sites_of_disease": rng.integers(1, 5, patients),
        "prior_lines": rng.integers(1, 4, patients),
    }
    numbers = {name: np.asarray(values[name], dtype=np.float64) for name in NAMES}
    return Cohort(dictionary, tuple(f"p{row}" for row in range(patients)), numbers)


def truth(values: dict[str, np.ndarray]) -> np.ndarray:
    """Return survival: burden weighs most, then Deauville, albumin a little; sites not at all."""
    score = (
        1.2 * (np.log(values["tumour_burden"]) - 4.0)
        + 0.4 * (np.nan_to_num(values["deauville"], nan=2.0) - 2.0)
        - 0.03 * (values["albumin"] - 38.0)
        + 1.2 * (np.log(values["largest_lesion"]) - 3.3)
    )
    return 1.0 / (1.0 + np.exp(score))


def without(cohort: Cohort, row: int, *names: str) -> Cohort:
    """Return one patient with some fields missing."""
    patient = cohort.take(np.array([row]))
    return replace(patient, values=patient.values | dict.fromkeys(names, np.array([np.nan])))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return simulated()


@pytest.fixture(scope="module")
def completion(cohort) -> Completion:
    return Completion.fit(cohort, Encoder.fit(cohort, predictors=NAMES), DISEASES)


@pytest.fixture(scope="module")
def dlbcl(cohort) -> int:
    return cohort.text("disease").index("dlbcl")


def shown(completion, X: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values that encoded rows show; every category here is ordered or has two."""
    values = {}
    for name in NAMES[1:]:
        (column,), _ = completion.encoder.show(name, np.zeros(1))
        log = completion.encoder.dictionary[name].scale == "log"
        values[name] = np.expm1(X[:, column]) if log else X[:, column]
    return values


def given(completion, patient):
    (disease,) = patient.text("disease")
    (z,), (x,) = completion.cohort_scores(patient, disease), completion.encoder.encode(patient)
    return list(completion.plausible(z, x, disease))


def rank(completion, patient, answer, *, outcome="the probability"):
    """Rank a patient's unknown predictors, the answers being those of a function of values."""
    rows = completion.complete_cohort(patient)
    now = Now(float(rows.weights @ answer(shown(completion, rows.X))), outcome)
    tests = [
        next_test(
            completion.encoder.dictionary[each.predictor],
            answer(shown(completion, each.X)).tolist(),
            each.weights.tolist(),
            now,
        )
        for each in given(completion, patient)
    ]
    return tuple(sorted(tests, key=lambda test: -test.expected_change))


def by_name(tests: tuple[NextTest, ...]) -> dict[str, NextTest]:
    return {test.predictor: test for test in tests}


def test_effect_and_spread_rank_first_and_no_effect_last(completion, cohort, dlbcl):
    missing = ("tumour_burden", "largest_lesion", "deauville", "albumin", "sites_of_disease", "tp53")
    ranked = rank(completion, without(cohort, dlbcl, *missing), truth)
    assert {test.predictor for test in ranked} == set(missing)
    assert [test.predictor for test in ranked[2:4]] == ["deauville", "albumin"]
    assert {test.predictor for test in ranked[:2]} == {"tumour_burden", "largest_lesion"}
    assert {test.predictor for test in ranked[4:]} == {"sites_of_disease", "tp53"}
    assert [test.expected_change for test in ranked[4:]] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_what_the_rest_already_tells_moves_little(completion, cohort, dlbcl):
    """The same lesion, of the same weight: open when burden is missing too, nearly known when it is not."""

    def answer(values):
        return 1.0 / (1.0 + np.exp(1.2 * (np.log(values["largest_lesion"]) - 3.3)))

    told = by_name(rank(completion, without(cohort, dlbcl, "largest_lesion"), answer))["largest_lesion"]
    both = without(cohort, dlbcl, "largest_lesion", "tumour_burden")
    untold = by_name(rank(completion, both, answer))["largest_lesion"]
    assert told.expected_change < untold.expected_change / 5
    assert told.high - told.low < (untold.high - untold.low) / 5


def test_the_change_is_the_one_that_simulated_patients_would_have_had(completion, cohort):
    """Fresh patients whose value is hidden: expected change and range against what the value then does.

    The lesion that goes with burden is taken to be the same: what a result says of others is not counted.
    """

    def of_one_lesion(values):
        return truth(values | {"largest_lesion": np.full(len(values["age"]), 27.0)})

    fresh = simulated(400, seed=2)
    rows = [row for row, disease in enumerate(fresh.text("disease")) if disease == "dlbcl"][:150]
    for name in ("tumour_burden", "albumin", "deauville"):
        foreseen, happened, inside = [], [], []
        for row in rows:
            hidden = without(fresh, row, name, "largest_lesion")
            test = by_name(rank(completion, hidden, of_one_lesion))[name]
            found = completion.complete_cohort(hidden)
            now = found.weights @ of_one_lesion(shown(completion, found.X))
            found = completion.complete_cohort(without(fresh, row, "largest_lesion"))
            then = found.weights @ of_one_lesion(shown(completion, found.X))
            foreseen.append(test.expected_change)
            happened.append(abs(then - now))
            inside.append(test.low - 0.01 <= then <= test.high + 0.01)
        assert np.mean(foreseen) == pytest.approx(np.mean(happened), rel=0.2)
        assert 0.8 < np.mean(inside) <= 1.0


def test_categories_follow_the_rest_of_the_patient(completion, cohort, dlbcl):
    """Older patients have higher Deauville scores, so the expected answer is worse."""
    ages = {}
    for age in (40.0, 80.0):
        patient = without(cohort, dlbcl, "deauville")
        patient.values["age"][0] = age
        (each,) = given(completion, patient)
        ages[age] = each.weights @ shown(completion, each.X)["deauville"]
        (test,) = rank(completion, patient, lambda values: 1.0 - values["deauville"] / 4)
        assert test.expected_change > 0.05
    assert ages[80.0] > ages[40.0] + 0.5


def test_only_unknown_predictors_of_this_disease_are_ranked(completion, cohort, dlbcl):
    assert rank(completion, without(cohort, dlbcl), truth) == ()
    everything = without(cohort, dlbcl, *(n for n in NAMES if n != "disease"))
    names = set(by_name(rank(completion, everything, truth)))
    assert names == set(NAMES) - {"disease", "ca_125"}
    ovarian = cohort.text("disease").index("ovarian_cancer")
    assert "ca_125" in by_name(rank(completion, without(cohort, ovarian, "ca_125"), truth))


def test_values_stay_what_a_form_would_take_and_within_what_was_seen(completion, cohort, dlbcl):
    missing = ("deauville", "tp53", "tumour_burden", "sites_of_disease", "albumin")
    found = given(completion, without(cohort, dlbcl, *missing))
    assert {each.predictor for each in found} == set(missing)
    same_disease = cohort.take(np.array([d == "dlbcl" for d in cohort.text("disease")]))
    for each in found:
        field, known = cohort.dictionary[each.predictor], same_disease.values[each.predictor]
        values = shown(completion, each.X)[each.predictor]
        assert np.abs(values[:, None] - known).min(axis=1).max() < 1e-9 * np.nanmax(np.abs(known))
        assert not field.read([field.value(float(np.round(v, 9))) for v in values]).faults
        assert each.weights.sum() == pytest.approx(1.0)
        assert len(each.weights) == (5 if each.predictor == "deauville" else len(each.weights))


def test_words_say_what_a_board_asks(completion, cohort, dlbcl):
    patient = without(cohort, dlbcl, "tumour_burden", "largest_lesion", "sites_of_disease")
    ranked = by_name(rank(completion, patient, truth, outcome="survival at 24 months"))
    moved = ranked["tumour_burden"].words
    assert moved.startswith(
        "Sum of target lesion diameters: knowing it would move survival at 24 months, now "
    )
    assert f"between {ranked['tumour_burden'].low:.0%} and {ranked['tumour_burden'].high:.0%}" in moved
    assert "hardly move survival at 24 months" in ranked["sites_of_disease"].words


def test_of_hardly_anybodys_values_nothing_is_said(cohort, dlbcl):
    values = {n: v.copy() for n, v in cohort.values.items()}
    for disease in DISEASES:
        rows = np.flatnonzero([d == disease for d in cohort.text("disease")])
        values["albumin"][rows[4:]] = np.nan
    sparse = Cohort(cohort.dictionary, cohort.patients, values)
    fitted = Completion.fit(sparse, Encoder.fit(sparse, predictors=NAMES), DISEASES)
    offered = {each.predictor for each in given(fitted, without(sparse, dlbcl, *NAMES[1:]))}
    assert {"tumour_burden", "deauville"} <= offered
    assert "albumin" not in offered


def test_who_can_tell_a_value_is_a_test_the_plan_or_the_history():
    known = load_dictionary()
    by_source = {source: set() for source in (TEST, PLAN, HISTORY)}
    for field in known.fields:
        by_source[source_of(field)].add(field.name)
    tests = {"deauville", "site_liver", "stage_at_relapse", "kras", "albumin", "white_cells", "ldh"}
    assert tests <= by_source[TEST]
    assert {"age", "sex", "ecog", "prior_lines", "tumour_grade"} <= by_source[HISTORY]
    assert {"plan_surgery", "plan_regimen"} <= by_source[PLAN]
    assert all(name.startswith("plan_") or known[name].group == "plan" for name in by_source[PLAN])
    assert source_of(known["marker_tp63"]) == TEST


# One predictor


@drawn(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=9),
    st.floats(0.0, 1.0),
)
def test_the_change_is_the_mean_distance_of_answers_from_their_mean(each, answer):
    answers, weights = np.array(each).T
    weights /= weights.sum()
    found = next_test(load_dictionary()["albumin"], answers.tolist(), weights.tolist(), Now(answer, "it"))
    mean = weights @ answers
    assert found.expected_change == pytest.approx(weights @ np.abs(answers - mean), abs=1e-12)
    moved = np.clip(answers - mean + answer, 0.0, 1.0)
    assert moved.min() - 1e-12 <= found.low <= found.high <= moved.max() + 1e-12
    assert found.predictor == "albumin"
    assert found.source == TEST


def test_nine_answers_of_ten_lie_between_the_bounds():
    """Each end leaves out a twentieth of the weight, whatever the order that answers come in."""
    answers, weights = [0.9, 0.1, 0.5, 0.4, 0.6], [0.04, 0.03, 0.45, 0.24, 0.24]
    mean = float(np.dot(answers, weights))
    found = next_test(load_dictionary()["albumin"], answers, weights, Now(mean, "it"))
    assert (found.low, found.high) == pytest.approx((0.4, 0.6))
