"""What to find out next: ranked as the simulated truth says, in words, by one call. Synthetic patients."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.encoder import Encoder
from models.patient.next_tests import Information, Now, is_test
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


def known_after(cohort: Cohort, name: str) -> np.ndarray:
    """Return a field with a missing value at a middle one, as a model would take it."""
    middle = {"tumour_burden": 54.0, "albumin": 38.0, "deauville": 2.0, "largest_lesion": 27.0}
    return np.where(np.isnan(cohort.values[name]), middle.get(name, 0.0), cohort.values[name])


def truth(cohort: Cohort) -> np.ndarray:
    """Return survival: burden weighs most, then Deauville, albumin a little; sites not at all."""
    score = (
        1.2 * (np.log(known_after(cohort, "tumour_burden")) - 4.0)
        + 0.4 * (known_after(cohort, "deauville") - 2.0)
        - 0.03 * (known_after(cohort, "albumin") - 38.0)
        + 1.2 * (np.log(known_after(cohort, "largest_lesion")) - 3.3)
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
def information(cohort) -> Information:
    return Information.fit(cohort, Encoder.fit(cohort, predictors=NAMES), NAMES, DISEASES)


@pytest.fixture(scope="module")
def dlbcl(cohort) -> int:
    return cohort.text("disease").index("dlbcl")


def given(information, patient):
    values = {name: float(column[0]) for name, column in patient.values.items()}
    return information.given(values, information.encoder.encode(patient)[0], patient.text("disease")[0])


def rank(information, patient, answer, *, outcome="the probability"):
    """Rank a patient's missing tests, the answers being those of a function of a cohort."""
    found, answers = given(information, patient), {}
    for name, each in found.items():
        tried = patient.take(np.zeros(len(each.values), dtype=np.int64))
        answers[name] = answer(replace(tried, values=tried.values | {name: each.values}))
    return information.ranked(found, answers, Now(float(answer(patient)[0]), outcome))


def by_name(tests: tuple[NextTest, ...]) -> dict[str, NextTest]:
    return {test.predictor: test for test in tests}


def test_effect_and_spread_rank_first_and_no_effect_last(information, cohort, dlbcl):
    missing = ("tumour_burden", "largest_lesion", "deauville", "albumin", "sites_of_disease", "tp53")
    ranked = rank(information, without(cohort, dlbcl, *missing), truth)
    assert {test.predictor for test in ranked} == set(missing)
    assert [test.predictor for test in ranked[2:4]] == ["deauville", "albumin"]
    assert {test.predictor for test in ranked[:2]} == {"tumour_burden", "largest_lesion"}
    assert {test.predictor for test in ranked[4:]} == {"sites_of_disease", "tp53"}
    assert [test.expected_change for test in ranked[4:]] == [0.0, 0.0]


def test_what_the_rest_already_tells_moves_little(information, cohort, dlbcl):
    """The same lesion, of the same weight: open when burden is missing too, nearly known when it is not."""
    at_its_own = cohort.values["largest_lesion"][dlbcl]

    def answer(patients):
        lesion = np.nan_to_num(patients.values["largest_lesion"], nan=at_its_own)
        return 1.0 / (1.0 + np.exp(1.2 * (np.log(lesion) - 3.3)))

    told = by_name(rank(information, without(cohort, dlbcl, "largest_lesion"), answer))["largest_lesion"]
    both = without(cohort, dlbcl, "largest_lesion", "tumour_burden")
    untold = by_name(rank(information, both, answer))["largest_lesion"]
    assert told.expected_change < untold.expected_change / 5
    assert told.high - told.low < (untold.high - untold.low) / 5


def test_the_change_is_the_one_that_simulated_patients_would_have_had(information, cohort):
    """Fresh patients whose value is hidden: expected change and range against what the value then does."""
    fresh = simulated(400, seed=2)
    rows = [row for row, disease in enumerate(fresh.text("disease")) if disease == "dlbcl"][:150]
    for name in ("tumour_burden", "albumin", "deauville"):
        foreseen, happened, inside = [], [], []
        for row in rows:
            hidden = (name, "largest_lesion")
            test = by_name(rank(information, without(fresh, row, *hidden), truth))[name]
            now = truth(without(fresh, row, *hidden))[0]
            then = truth(without(fresh, row, "largest_lesion"))[0]
            foreseen.append(test.expected_change)
            happened.append(abs(then - now))
            inside.append(test.low <= then <= test.high)
        assert np.mean(foreseen) == pytest.approx(np.mean(happened), rel=0.2)
        assert 0.8 < np.mean(inside) <= 1.0


def test_categories_follow_the_rest_of_the_patient(information, cohort, dlbcl):
    """Older patients have higher Deauville scores, so the expected answer is worse."""
    ages = {}
    for age in (40.0, 80.0):
        patient = without(cohort, dlbcl, "deauville")
        patient.values["age"][0] = age
        (test,) = rank(information, patient, lambda p: 1.0 - known_after(p, "deauville") / 4)
        ages[age] = (test.low, test.high)
    assert ages[80.0][0] < ages[40.0][0]
    assert ages[80.0][1] < ages[40.0][1]


def test_only_missing_tests_of_this_disease_are_ranked(information, cohort, dlbcl):
    assert rank(information, without(cohort, dlbcl), truth) == ()
    everything = without(cohort, dlbcl, *(n for n in NAMES if n != "disease"))
    names = set(by_name(rank(information, everything, truth)))
    assert names == set(NAMES) - {"disease", "age", "ecog", "ca_125", "prior_lines"}
    ovarian = cohort.text("disease").index("ovarian_cancer")
    assert "ca_125" in by_name(rank(information, without(cohort, ovarian, "ca_125"), truth))


def test_values_stay_what_a_form_would_take_and_within_what_was_seen(information, cohort, dlbcl):
    missing = ("deauville", "tp53", "tumour_burden", "sites_of_disease", "albumin")
    found = given(information, without(cohort, dlbcl, *missing))
    assert set(found) == set(missing)
    same_disease = cohort.take(np.array([d == "dlbcl" for d in cohort.text("disease")]))
    for name, each in found.items():
        field, known = cohort.dictionary[name], same_disease.values[name]
        assert np.nanmin(known) - 1e-9 <= each.values.min() <= each.values.max() <= np.nanmax(known) + 1e-9
        assert not field.read([field.value(v) for v in each.values]).faults
        assert each.weights.sum() == pytest.approx(1.0)
    assert len(found["deauville"].values) == 5


def test_words_say_what_a_board_asks(information, cohort, dlbcl):
    patient = without(cohort, dlbcl, "tumour_burden", "sites_of_disease")
    ranked = by_name(rank(information, patient, truth, outcome="survival at 24 months"))
    moved = ranked["tumour_burden"].words
    assert moved.startswith(
        "Sum of target lesion diameters: knowing it would move survival at 24 months, now "
    )
    assert f"between {ranked['tumour_burden'].low:.0%} and {ranked['tumour_burden'].high:.0%}" in moved
    assert "hardly move survival at 24 months" in ranked["sites_of_disease"].words


def test_too_few_known_values_say_nothing(cohort):
    values = {n: v.copy() for n, v in cohort.values.items()}
    values["albumin"][19:] = np.nan
    values["sites_of_disease"][:] = 2.0
    sparse = Cohort(cohort.dictionary, cohort.patients, values)
    fitted = Information.fit(sparse, Encoder.fit(sparse, predictors=NAMES), NAMES, DISEASES)
    offered = {name for here in fitted.diseases.values() for name in here.plausible}
    assert {"tumour_burden", "deauville", "ca_125"} <= offered
    assert not {"albumin", "sites_of_disease"} & offered


def test_a_disease_without_patients_offers_no_test(cohort):
    others = cohort.take(np.array([d != "dlbcl" for d in cohort.text("disease")]))
    fitted = Information.fit(others, Encoder.fit(cohort, predictors=NAMES), NAMES, DISEASES)
    assert fitted.diseases["dlbcl"].plausible == {}


def test_stored_and_read_back_it_ranks_the_same_and_holds_no_patients(information, cohort, dlbcl):
    stored = json.dumps(information.as_dict(), allow_nan=False)
    read = Information.from_dict(json.loads(stored), encoder=information.encoder)
    patient = without(cohort, dlbcl, "tumour_burden", "deauville", "albumin")
    assert rank(read, patient, truth) == rank(information, patient, truth)
    assert len(stored) < 20_000
    again = Information.fit(cohort, information.encoder, NAMES, DISEASES)
    assert json.dumps(again.as_dict()) == json.dumps(information.as_dict())


def test_tests_are_reassessment_staging_and_laboratory():
    known = load_dictionary()
    tests = {f.name for f in known.fields if is_test(f)}
    assert {"deauville", "site_liver", "stage_at_relapse", "kras", "albumin", "white_cells", "ldh"} <= tests
    assert (
        not {"age", "sex", "ecog", "prior_lines", "plan_surgery", "disease", "tumour_grade", "died"} & tests
    )
    assert is_test(known["marker_tp63"])
