"""The encoder: stable columns, and honest gaps for what training never saw."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.encoder import Encoder
from tests.lib.patients import BREAST, one_patient, protocol, simulated_cohort, simulated_frame

DICTIONARY = load_dictionary()
PREDICTORS = protocol().predictors
TRAINING = simulated_cohort(200, seed=11)
ENCODER = Encoder.fit(TRAINING, predictors=PREDICTORS)


def patient(**values: object) -> Cohort:
    return one_patient(values, dictionary=DICTIONARY)


def trained_on(**columns: list[object]) -> Cohort:
    count = len(next(iter(columns.values())))
    frame = simulated_frame(count, seed=1)[["patient"]].assign(**columns).astype(object)
    return Cohort.from_frame(frame, dictionary=DICTIONARY.slice(columns))


def fitted(**columns: list[object]) -> Encoder:
    return Encoder.fit(trained_on(**columns), predictors=tuple(columns))


def test_names_are_the_predictors_and_for_nominal_ones_the_category():
    assert ENCODER.names == (
        "disease=breast_cancer",
        "age",
        "sex=male",
        "menopausal_status=postmenopausal",
        *PREDICTORS[4:],
    )


@given(st.permutations(range(200)))
@settings(max_examples=10)
def test_names_do_not_depend_on_the_order_of_patients(order: list[int]):
    shuffled = Encoder.fit(TRAINING.take(np.array(order)), predictors=PREDICTORS)
    assert shuffled == ENCODER


def test_a_nominal_category_has_a_column_for_each_seen_but_the_first():
    encoder = fitted(sex=["female", "male", "female"])
    assert encoder.names == ("sex=male",)
    assert encoder.encode(trained_on(sex=["female", "male", None])).T.tolist()[0][:2] == [0.0, 1.0]


def test_an_ordered_category_is_its_position():
    encoder = fitted(tumour_grade=["grade_1", "grade_2", "grade_3"])
    assert encoder.names == ("tumour_grade",)
    assert encoder.encode(patient(tumour_grade="grade_3")).tolist() == [[2.0]]


def test_a_flag_is_zero_or_one():
    encoder = fitted(prior_chemotherapy=[True, False])
    assert encoder.encode(trained_on(prior_chemotherapy=[True, False])).tolist() == [[1.0], [0.0]]


def test_a_log_scale_is_the_logarithm_of_one_more():
    encoder = fitted(positive_lymph_nodes=[0, 3])
    assert encoder.encode(patient(positive_lymph_nodes=0)).item() == 0.0
    assert encoder.encode(patient(positive_lymph_nodes=9)).item() == pytest.approx(math.log(10))


def test_a_linear_scale_is_the_number_itself():
    assert fitted(age=[40, 50]).encode(patient(age=61.5)).item() == 61.5


@pytest.mark.parametrize(
    "constant", [[50.0, 50.0, 50.0], [50.0, None, 50.0], [None, None, None]], ids=["equal", "gaps", "empty"]
)
def test_a_predictor_that_never_varies_has_no_column(constant: list[object]):
    encoder = fitted(age=constant, sex=["female", "male", "male"])
    assert encoder.names == ("sex=male",)
    assert encoder.predictors == ("age", "sex")


def test_a_cohort_without_patients_has_no_column():
    nobody = TRAINING.take(np.array([], dtype=int))
    assert Encoder.fit(nobody, predictors=PREDICTORS).names == ()


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("tumour_grade", ["grade_1", "grade_3"], "grade_2"),
        ("local_extent", ["muscle", "serosa"], "submucosa"),
    ],
)
def test_an_unseen_ordered_category_is_a_gap_and_is_flagged(name: str, seen: list[object], unseen: str):
    encoder = fitted(**{name: seen})
    new = patient(**{name: unseen})
    assert np.isnan(encoder.encode(new)).all()
    assert encoder.unseen(new) == {name: [True]}


def test_an_unseen_nominal_category_is_a_gap_in_every_column_of_it_and_is_flagged():
    encoder = fitted(sex=["female", "male"])
    narrowed = Encoder(encoder.dictionary, {"sex": ("female",)}, encoder.columns)
    new = trained_on(sex=["male", "female", None])
    np.testing.assert_array_equal(narrowed.encode(new), [[math.nan], [0.0], [math.nan]])
    assert narrowed.unseen(new) == {"sex": [True, False, False]}


def test_a_category_is_flagged_even_where_its_predictor_has_no_column():
    encoder = fitted(sex=["female", "female"])
    assert encoder.names == ()
    assert encoder.unseen(patient(sex="male")) == {"sex": [True]}


def test_a_missing_category_is_not_unseen():
    flagged = ENCODER.unseen(patient())
    assert set(flagged) == {name for name in PREDICTORS if DICTIONARY[name].type == "category"}
    assert not any(flag for flags in flagged.values() for flag in flags)


@given(seed=st.integers(0, 2**32 - 1), patients=st.integers(1, 40))
@settings(max_examples=25)
def test_any_valid_cohort_encodes_to_finite_numbers_and_gaps_only(seed: int, patients: int):
    cohort = simulated_cohort(patients, seed=seed)
    matrix = ENCODER.encode(cohort)
    assert matrix.shape == (patients, len(ENCODER.names))
    flagged = ENCODER.unseen(cohort)
    for column, shown in zip(ENCODER.columns, matrix.T, strict=True):
        gap = np.isnan(cohort.values[column.predictor]) | flagged.get(column.predictor, False)
        np.testing.assert_array_equal(np.isfinite(shown), ~gap)
        np.testing.assert_array_equal(np.isnan(shown), gap)


def test_a_patient_encodes_as_their_row_of_the_table_does():
    matrix = ENCODER.encode(TRAINING)
    for row in (0, 1, 199):
        alone = patient(**TRAINING.patient(row))
        np.testing.assert_array_equal(ENCODER.encode(alone)[0], matrix[row])


def test_encoding_leaves_the_cohort_as_it_was():
    before = TRAINING.fingerprint()
    ENCODER.encode(TRAINING)
    assert TRAINING.fingerprint() == before


def test_every_column_belongs_to_exactly_one_predictor():
    owners = ENCODER.owners()
    assert owners.shape == (len(ENCODER.names),)
    for name, owner in zip(ENCODER.names, owners, strict=True):
        assert name.partition("=")[0] == PREDICTORS[owner]


def test_the_encoder_survives_json():
    stored = json.loads(json.dumps(ENCODER.as_dict()))
    again = Encoder.from_dict(stored, dictionary=DICTIONARY.slice(PREDICTORS))
    assert again == ENCODER
    new = patient(**BREAST)
    np.testing.assert_array_equal(again.encode(new), ENCODER.encode(new))
