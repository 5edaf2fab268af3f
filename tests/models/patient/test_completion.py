"""Completion: a patient's plausible rows are training's values, their own, and as frequent as in training."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.encoder import Encoder
from models.patient import completion as completion_module
from models.patient.completion import Completion, joined
from models.patient.draws import SEVERAL
from tests.lib.patients import protocol, simulated_cohort

BREAST, COLON = "breast_cancer", "colorectal_cancer"


def fit(cohort):
    study = protocol()
    return Completion.fit(cohort, Encoder.fit(cohort, predictors=study.predictors), study.diseases)


@pytest.fixture(scope="module")
def completion(cohort):
    return fit(cohort)


def of(cohort, disease):
    return cohort.take(np.array([named == disease for named in cohort.text("disease")]))


def hide(cohort, names, rows=slice(None)):
    """Return a cohort of which some values are not known."""
    values = {name: column.copy() for name, column in cohort.values.items()}
    for name in names:
        values[name][rows] = np.nan
    return replace(cohort, values=values)


def applying(completion, disease):
    fields = completion.encoder.dictionary.fields
    return [field.name for field in fields if field.applies(disease) and field.name != "disease"]


@st.composite
def unknown(draw, completion, cohort, disease):
    """Draw a few patients of a disease, each with any values unknown."""
    own = of(cohort, disease)
    rows = draw(st.lists(st.integers(0, len(own) - 1), min_size=1, max_size=5))
    some, names = own.take(np.array(rows)), applying(completion, disease)
    for row in range(len(rows)):
        some = hide(some, draw(st.sets(st.sampled_from(names))), row)
    return some


diseases = pytest.mark.parametrize("disease", [BREAST, COLON])


# Rows


@diseases
@settings(max_examples=40)
@given(st.data())
def test_rows_are_values_that_training_saw_and_what_is_known_stays(completion, cohort, disease, data):
    some = data.draw(unknown(completion, cohort, disease))
    training = completion.encoder.encode(of(cohort, disease))
    X, found = completion.encoder.encode(some), completion.complete_cohort(some)
    for row, own in enumerate(found.one_by_one()):
        assert own.weights.sum() == pytest.approx(1.0, abs=1e-12)
        for column, declared in enumerate(completion.encoder.columns):
            values = own.X[:, column]
            if np.isnan(training[:, column]).all():
                assert np.isnan(values).all()
            elif np.isnan(X[row, column]) and declared.predictor != "disease":
                seen = training[~np.isnan(training[:, column]), column]
                assert np.abs(values[:, None] - seen).min(axis=1).max() < 1e-9
            else:
                np.testing.assert_array_equal(values, X[row, column])


@diseases
@settings(max_examples=40)
@given(st.data())
def test_categories_of_several_columns_are_drawn_whole(completion, cohort, disease, data):
    some = data.draw(unknown(completion, cohort, disease))
    training = completion.encoder.encode(of(cohort, disease))
    owners = completion.encoder.owners()
    for own in completion.complete_cohort(some).one_by_one():
        for predictor in np.unique(owners):
            columns = np.flatnonzero(owners == predictor)
            if len(columns) > 1:
                seen = np.unique(training[:, columns], axis=0)
                for values in own.X[:, columns]:
                    assert (np.isclose(seen, values, equal_nan=True)).all(axis=1).any()


@diseases
def test_with_nothing_unknown_the_row_is_the_patients_own(completion, cohort, disease):
    own = of(cohort, disease)
    Z = completion.cohort_scores(own, disease)
    known = own.take(~np.isnan(Z).any(axis=1))
    found = completion.complete_cohort(known)
    assert found.complete
    np.testing.assert_array_equal(found.X, completion.encoder.encode(known))
    np.testing.assert_array_equal(found.weights, 1.0)
    assert not found.unknown.any()
    assert set(found.told) == {None}


@diseases
@settings(max_examples=40)
@given(st.data())
def test_a_patients_rows_are_the_same_alone_among_others_and_after_reading(completion, cohort, disease, data):
    some = data.draw(unknown(completion, cohort, disease))
    stored = json.loads(json.dumps(completion.as_dict(), allow_nan=False))
    read = Completion.from_dict(stored, encoder=completion.encoder)
    together, again = completion.complete_cohort(some), read.complete_cohort(some)
    for part in ("X", "weights", "first", "unknown"):
        np.testing.assert_array_equal(getattr(again, part), getattr(together, part))
    for row, own in enumerate(together.one_by_one()):
        alone = completion.complete_cohort(some.take(np.array([row])))
        for part in ("X", "weights", "unknown"):
            np.testing.assert_array_equal(getattr(alone, part), getattr(own, part))
        if own.told[0] is None:
            assert alone.told == (None,)
        else:
            for one, other in zip(alone.told[0], own.told[0], strict=True):
                np.testing.assert_array_equal(one, other)


@diseases
def test_what_was_drawn_is_told_by_predictor(completion, cohort, disease):
    names = completion.encoder.predictors
    some = hide(of(cohort, disease).take(np.arange(3)), ["age", "tumour_grade"])
    for row, own in enumerate(completion.complete_cohort(some).one_by_one()):
        blank = {n for n in applying(completion, disease) if np.isnan(some.values[n][row])}
        assert {names[at] for at in np.flatnonzero(own.unknown[0])} == blank
        assert {names[at] for at in own.told[0].unknown} == blank
        known = {names[at] for at in own.told[0].known}
        assert known == set(applying(completion, disease)) - blank


def test_a_cohort_of_both_diseases_is_completed_in_its_order(completion, cohort):
    some = hide(cohort.take(np.arange(30)), ["age"], slice(0, 20))
    found = completion.complete_cohort(some)
    apart = joined([completion.complete_cohort(some.take(np.array([row]))) for row in range(30)])
    for part in ("X", "weights", "first", "unknown"):
        np.testing.assert_array_equal(getattr(found, part), getattr(apart, part))
    assert found.strata(np.arange(30)).tolist() == np.repeat(np.arange(30), found.counts).tolist()


def test_means_and_variances_are_over_each_patients_rows(completion, cohort):
    some = hide(cohort.take(np.arange(12)), ["age", "tumour_grade"], slice(0, 12, 2))
    found = completion.complete_cohort(some)
    values = np.random.default_rng(0).normal(size=(len(found.X), 2, 3))
    mean, variance = found.mean(values), found.variance(values)
    ends = [*found.first[1:], len(found.X)]
    for row, (start, end) in enumerate(zip(found.first, ends, strict=True)):
        own, weights = values[start:end], found.weights[start:end]
        expected = np.tensordot(weights, own, axes=1)
        np.testing.assert_allclose(mean[row], expected, rtol=0, atol=1e-12)
        spread = np.tensordot(weights, (own - expected) ** 2, axes=1)
        np.testing.assert_allclose(variance[row], spread, rtol=0, atol=1e-12)


# Frequencies


@diseases
def test_of_whom_nothing_is_known_values_are_as_frequent_as_in_training(completion, cohort, disease):
    """Within what 24 draws can tell: a share differs by less than three of them, by one on average."""
    own = of(cohort, disease)
    nobody = hide(own.take(np.arange(1)), applying(completion, disease))
    found, apart = completion.complete_cohort(nobody), []
    assert len(found.X) == SEVERAL
    names = list(completion.diseases[disease].joint.margins)
    for name in names:
        columns, shown = completion.encoder.show(
            name, completion.diseases[disease].joint.margins[name].values
        )
        if len(shown) > 12:
            continue
        known = own.values[name][~np.isnan(own.values[name])]
        for value, encoded in zip(
            completion.diseases[disease].joint.margins[name].values, shown, strict=True
        ):
            drawn = found.weights[(found.X[:, columns] == encoded).all(axis=1)].sum()
            apart.append(abs(drawn - (known == value).mean()))
    assert len(apart) > 5
    assert max(apart) < 3.0 / SEVERAL
    assert np.mean(apart) < 1.2 / SEVERAL


@diseases
def test_of_whom_nothing_is_known_numbers_are_spread_as_in_training(completion, cohort, disease):
    own = of(cohort, disease)
    found = completion.complete_cohort(hide(own.take(np.arange(1)), applying(completion, disease)))
    training = completion.encoder.encode(own)
    for column, declared in enumerate(completion.encoder.columns):
        if completion.encoder.dictionary[declared.predictor].type == "number":
            known = training[~np.isnan(training[:, column]), column]
            if known.size:
                assert found.X[:, column].mean() == pytest.approx(known.mean(), abs=0.25 * known.std())
                assert found.X[:, column].std() == pytest.approx(known.std(), rel=0.3)


def test_one_unknown_flag_has_a_row_for_each_value_with_its_probability(completion, cohort):
    own = of(cohort, BREAST)
    Z = completion.cohort_scores(own, BREAST)
    whole = own.take(~np.isnan(Z).any(axis=1))
    found = completion.complete_cohort(hide(whole, ["prior_chemotherapy"]))
    assert (found.counts == 2).all()
    (column,), _ = completion.encoder.show("prior_chemotherapy", np.zeros(1))
    shares = found.mean(found.X[:, [column]])[:, 0]
    assert shares.mean() == pytest.approx(whole.values["prior_chemotherapy"].mean(), abs=0.03)
    assert ((shares > 0.0) & (shares < 1.0)).all()


# Gaussian patients


NAMES = ("disease", "age", "albumin", "haemoglobin", "creatinine_clearance")


def gaussian(patients, *, seed=1):
    """Return patients whose four numbers are jointly normal."""
    rng, known = np.random.default_rng(seed), load_dictionary().slice(NAMES)
    mixing = np.array(
        [[1.0, 0.0, 0.0, 0.0], [0.8, 0.6, 0.0, 0.0], [-0.5, 0.5, 0.7, 0.0], [0.3, 0.3, 0.3, 0.85]]
    )
    Z = rng.normal(size=(patients, 4)) @ mixing.T
    centre, scale = np.array([60.0, 38.0, 12.0, 90.0]), np.array([8.0, 4.0, 1.5, 20.0])
    numbers = dict(zip(NAMES[1:], (centre + scale * Z).T, strict=True))
    place = known["disease"].category_names.index("dlbcl")
    values = {"disease": np.full(patients, float(place))} | numbers
    return Cohort(known, tuple(f"p{row}" for row in range(patients)), values)


@pytest.fixture(scope="module")
def normal():
    cohort = gaussian(6000)
    return cohort, Completion.fit(cohort, Encoder.fit(cohort, predictors=NAMES), ["dlbcl"])


@pytest.mark.parametrize("name", NAMES[1:])
def test_one_unknown_number_is_drawn_about_its_regression_on_the_rest(normal, name):
    """As training's regression says, and as far about it as its residuals are."""
    cohort, completion = normal
    columns = np.column_stack([cohort.values[n] for n in NAMES[1:]])
    at = NAMES[1:].index(name)
    rest = np.column_stack([np.ones(len(columns)), np.delete(columns, at, axis=1)])
    slopes = np.linalg.lstsq(rest, columns[:, at], rcond=None)[0]
    left = (columns[:, at] - rest @ slopes).std()
    fresh = gaussian(400, seed=2)
    theirs = np.column_stack([np.ones(400), *(fresh.values[n] for n in NAMES[1:] if n != name)])
    found = completion.complete_cohort(hide(fresh, [name]))
    (column,), _ = completion.encoder.show(name, np.zeros(1))
    drawn, spread = found.mean(found.X[:, [column]])[:, 0], found.variance(found.X[:, [column]])[:, 0]
    size = columns[:, at].std()
    apart = drawn - theirs @ slopes
    assert np.sqrt((apart**2).mean()) < 0.12 * size
    assert abs(apart.mean()) < 0.03 * size
    assert np.sqrt(spread.mean()) == pytest.approx(left, rel=0.15)


def test_several_unknown_numbers_keep_what_they_have_to_do_with_one_another(normal):
    cohort, completion = normal
    found = completion.complete_cohort(hide(cohort.take(np.arange(300)), ["albumin", "haemoglobin"]))
    columns = [completion.encoder.show(name, np.zeros(1))[0][0] for name in NAMES[1:]]
    drawn = np.corrcoef(found.X[:, columns].T)
    theirs = np.corrcoef(np.column_stack([cohort.values[name] for name in NAMES[1:]]).T)
    np.testing.assert_allclose(drawn, theirs, atol=0.12)


def test_scores_are_normal_quantiles_of_ranks(normal):
    cohort, completion = normal
    scores = completion.cohort_scores(cohort, "dlbcl")
    for at, name in enumerate(completion.diseases["dlbcl"].joint.margins):
        ranks = (np.argsort(np.argsort(cohort.values[name])) + 0.5) / len(cohort)
        middle = (ranks > 0.02) & (ranks < 0.98)
        np.testing.assert_allclose(scores[middle, at], norm.ppf(ranks)[middle], atol=0.06)


# Borders and categories never seen


@diseases
def test_numbers_beyond_what_training_saw_stand_at_the_border(completion, cohort, disease):
    own = of(cohort, disease)
    ages = own.values["age"]
    some = own.take(np.arange(4))
    beyond = replace(some, values=some.values | {"age": np.array([5.0, 115.0, ages.min(), ages.max()])})
    found = completion.complete_cohort(beyond)
    (column,), _ = completion.encoder.show("age", np.zeros(1))
    expected = np.array([ages.min(), ages.max(), ages.min(), ages.max()])
    np.testing.assert_array_equal(found.X[found.first, column], expected)
    at = list(completion.diseases[disease].joint.margins).index("age")
    scores = completion.cohort_scores(beyond, disease)[:, at]
    assert (scores[0], scores[1]) == (scores[2], scores[3])


def test_what_training_never_saw_in_a_disease_is_missing(completion, cohort):
    own = of(cohort, COLON)
    X = completion.encoder.encode(own)
    columns, _ = completion.encoder.show("oestrogen_receptor", np.zeros(1))
    X[:, columns] = 3.0
    assert np.isnan(completion.within(X, COLON)[:, columns]).all()


def test_a_category_that_training_did_not_see_in_the_disease_counts_as_unknown(completion, cohort):
    """Every made man has colorectal cancer."""
    women = of(cohort, BREAST)
    Z = completion.cohort_scores(women, BREAST)
    known = women.take(~np.isnan(Z).any(axis=1)).take(np.arange(3))
    men = replace(known, values=known.values | {"sex": np.ones(3)})
    assert known.text("sex") == ["female"] * 3
    assert men.text("sex") == ["male"] * 3
    one, other = completion.complete_cohort(men), completion.complete_cohort(hide(known, ["sex"]))
    np.testing.assert_array_equal(one.X, other.X)
    np.testing.assert_array_equal(one.unknown, other.unknown)
    assert one.unknown[:, completion.encoder.predictors.index("sex")].all()


@diseases
def test_a_patient_as_read_has_the_scores_of_the_cohort(completion, cohort, disease):
    own = of(cohort, disease).take(np.arange(9))
    each = [{name: column[row] for name, column in own.values.items()} for row in range(9)]
    scores = completion.scores(each, disease)
    np.testing.assert_array_equal(scores, completion.cohort_scores(own, disease))
    assert completion.scores([], disease).shape == (0, scores.shape[1])


def test_plausible_values_are_put_in_one_after_the_other(completion, cohort):
    some = hide(of(cohort, BREAST).take(np.arange(1)), ["age", "tumour_grade", "oestrogen_receptor"])
    (z,), (x,) = completion.cohort_scores(some, BREAST), completion.encoder.encode(some)
    found = {each.predictor: each for each in completion.plausible(z, x, BREAST)}
    names = list(completion.diseases[BREAST].joint.margins)
    assert set(found) == {names[at] for at in np.flatnonzero(np.isnan(z))}
    for name, each in found.items():
        assert each.weights.sum() == pytest.approx(1.0)
        columns, _ = completion.encoder.show(name, np.zeros(1))
        others = np.setdiff1d(np.arange(len(x)), columns)
        assert len(np.unique(np.nan_to_num(each.X[:, others], nan=-1.0), axis=0)) == 1
        assert len(np.unique(each.X[:, columns], axis=0)) > 1


# The fit


def test_a_disease_without_patients_and_one_of_whom_nothing_is_known_are_answered_as_they_are(cohort):
    """Nothing is drawn, everything is missing, and nothing fails."""
    breast = of(cohort, BREAST)
    others = fit(breast)
    assert not others.diseases[COLON].joint.margins
    others.check(protocol().diseases)
    found = others.complete_cohort(of(cohort, COLON).take(np.arange(2)))
    assert found.complete
    read = Completion.from_dict(json.loads(json.dumps(others.as_dict())), encoder=others.encoder)
    read.check(protocol().diseases)


def test_the_same_cohort_gives_the_same_completion_without_its_patients(completion, cohort):
    stored = json.dumps(completion.as_dict(), allow_nan=False)
    assert json.dumps(fit(simulated_cohort()).as_dict()) == stored
    assert len(stored) < 60_000
    assert not any(f'"{patient}"' in stored for patient in cohort.patients)
    completion.check(protocol().diseases)


def test_of_a_large_cohort_every_second_or_third_patient_is_used(cohort, monkeypatch):
    monkeypatch.setattr(completion_module, "LARGEST_SAMPLE", 100)
    found = fit(cohort)
    own = of(cohort, BREAST)
    some = own.take(np.arange(0, len(own), 1 + (len(own) - 1) // 100))
    assert 50 < len(some) <= 100
    known = some.values["age"]
    assert set(found.diseases[BREAST].joint.margins["age"].values) == set(known[~np.isnan(known)])
    np.testing.assert_array_equal(found.diseases[BREAST].low, fit_borders(own, found)[0])
    np.testing.assert_array_equal(found.diseases[BREAST].high, fit_borders(own, found)[1])


def fit_borders(own, completion):
    X = completion.encoder.encode(own)
    low = np.where(np.isnan(X), np.inf, X).min(axis=0)
    return low, np.where(np.isnan(X), -np.inf, X).max(axis=0)


@pytest.mark.parametrize("others", [(BREAST,), (BREAST, COLON, "dlbcl"), ()])
def test_other_diseases_are_refused(completion, others):
    with pytest.raises(ValueError, match="the completion's diseases are not as they must be"):
        completion.check(others)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("low", lambda a: a[1:]), ("low", lambda a: a * np.nan), ("low", lambda a: np.full_like(a, -np.inf)),
        ("high", lambda a: a[:, None]), ("high", lambda a: np.full_like(a, np.inf)),
        ("high", lambda a: np.where(np.isinf(a), a, -1e9)), ("low", lambda a: np.where(np.isinf(a), 0.0, a)),
        ("low", lambda a: np.full_like(a, np.inf)), ("high", lambda a: np.where(np.isinf(a), a, 0.5)),
    ],
)  # fmt: skip
def test_borders_that_cannot_be_are_refused(completion, part, change):
    here = completion.diseases[BREAST]
    with np.errstate(invalid="ignore"):
        wrong = replace(here, **{part: change(getattr(here, part))})
    changed = replace(completion, diseases={**completion.diseases, BREAST: wrong})
    with pytest.raises(ValueError, match=r"not as (they|it) must be"):
        changed.check(protocol().diseases)
