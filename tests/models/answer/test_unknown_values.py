"""Whatever is unknown of whoever: the answer lies among those of plausible rows, and says what is not known.

Numbers beyond what training saw, categories that it did not see, and what is too far.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.cohort import read_patient
from features.errors import InvalidRequest
from models.answer.fitted_endpoint import NOT_KNOWN
from models.bundle.reading import read_bundle
from models.estimators.interface import NO_TIME
from tests.lib.patients import BREAST
from tests.models.bundle.test_bundle import patients

BREAST_CANCER = BREAST["disease"]


def completed(bundle, patient):
    """Return a patient's rows, and the patient as encoded."""
    values = read_patient(patient, dictionary=bundle.dictionary)
    X = bundle.encoder.encode_each([values])
    Z = bundle.completion.scores([values], patient["disease"])
    return bundle.completion.complete(Z, X, patient["disease"]), X


def predicted(bundle, patient, horizon=None):
    return bundle.predict(bundle.validate(patient, horizon=horizon), horizon=horizon)


def outcomes(bundle, patient):
    """Yield endpoint, outcome's place and what is said of it."""
    for endpoint in predicted(bundle, patient).endpoints:
        for at, outcome in enumerate(endpoint.outcomes):
            yield bundle.endpoint(endpoint.endpoint), at, outcome


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(patients())
def test_an_answer_lies_among_those_of_the_patients_rows(several, patient):
    rows, _ = completed(several, patient)
    stratum = several.protocol.diseases.index(patient["disease"])
    for endpoint, at, outcome in outcomes(several, patient):
        horizon = outcome.explanation.horizon
        times = NO_TIME if horizon is None else np.array([horizon])
        each = endpoint.model.predict(rows.X, np.full(len(rows.X), stratum), times)[:, at, 0]
        scale = outcome.explanation.scales[0]
        own = scale.prediction - scale.coherence
        assert each.min() - 1e-9 <= own <= each.max() + 1e-9


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(patients())
def test_contributions_give_the_prediction_and_unknown_ones_are_a_group(several, patient):
    rows, _ = completed(several, patient)
    unknown = {several.dictionary.names[at] for at in np.flatnonzero(rows.unknown[0])}
    apply = [field.name for field in several.dictionary.fields if field.applies(patient["disease"])]
    assert {name for name in apply if name not in patient} <= unknown
    for _, _, outcome in outcomes(several, patient):
        for scale in outcome.explanation.scales:
            assert [c.predictor for c in scale.contributions] == apply
            total = scale.reference + scale.coherence + sum(c.contribution for c in scale.contributions)
            assert total == pytest.approx(scale.prediction, abs=1e-6)
            by_group = sum(group.contribution for group in scale.groups)
            assert by_group == pytest.approx(total - scale.reference - scale.coherence, abs=1e-9)
            not_known = sum(c.contribution for c in scale.contributions if c.predictor in unknown)
            assert scale.groups[-1].group == NOT_KNOWN
            assert scale.groups[-1].contribution == pytest.approx(not_known, abs=1e-9)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(patients())
def test_an_interval_holds_the_answer_and_is_no_narrower_than_errors_alone_make_it(several, patient):
    _, X = completed(several, patient)
    strata = np.array([several.protocol.diseases.index(patient["disease"])])
    for endpoint, at, outcome in outcomes(several, patient):
        said = [p for p in outcome.probabilities if p.reason is None]
        times = np.array([p.horizon for p in said]) if endpoint.endpoint.timed else NO_TIME
        stated = np.zeros((1, len(endpoint.model.outcomes), len(said)))
        stated[0, at] = [p.probability for p in said]
        low, high = endpoint.intervals.around(stated, X, strata, times)
        for p, lower, higher in zip(said, low[0, at], high[0, at], strict=True):
            assert 0.0 <= p.low <= p.probability <= p.high <= 1.0
            assert p.low <= lower + 1e-9
            assert p.high >= higher - 1e-9


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(patients())
def test_a_caution_names_all_that_is_not_known_and_nothing_else(several, patient):
    labels = {
        field.label
        for field in several.dictionary.fields
        if field.applies(patient["disease"]) and field.name not in patient
    }
    found = [c for c in predicted(several, patient).warnings if c.kind == "not_known"]
    named = [set(c.message.split(": ", 1)[1].split("; ")) for c in found]
    assert named == ([labels] if labels else [])


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patients(), min_size=2, max_size=5))
def test_rows_are_the_same_alone_among_others_and_after_reading(several, written, some):
    again = read_bundle(written)
    for disease in several.protocol.diseases:
        own = [patient for patient in some if patient["disease"] == disease]
        if not own:
            continue
        values = [read_patient(patient, dictionary=several.dictionary) for patient in own]
        X = several.encoder.encode_each(values)
        Z = several.completion.scores(values, disease)
        together = several.completion.complete(Z, X, disease)
        read = again.completion.complete(again.completion.scores(values, disease), X, disease)
        np.testing.assert_array_equal(read.X, together.X)
        np.testing.assert_array_equal(read.weights, together.weights)
        for row, one in enumerate(together.one_by_one()):
            alone, _ = completed(several, own[row])
            np.testing.assert_array_equal(one.X, alone.X)
            np.testing.assert_array_equal(one.weights, alone.weights)


@pytest.fixture(scope="module")
def written(several, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "bundle"
    several.write(folder)
    return folder


# Beyond what training saw


def first(bundle, patient):
    """Return what is said of the leading outcome at the first horizon."""
    return predicted(bundle, patient).endpoints[0].outcomes[0].probabilities[0]


def contributions(bundle, patient):
    scales = predicted(bundle, patient).endpoints[0].outcomes[0].explanation.scales
    return [[contribution.contribution for contribution in scale.contributions] for scale in scales]


@pytest.mark.parametrize("name", ["age", "months_diagnosis_to_relapse", "oestrogen_receptor"])
def test_beyond_the_border_the_answer_is_the_borders_and_its_interval_grows(bundle, name):
    _, high = bundle.applicability.ranges[BREAST_CANCER][name]
    log = bundle.dictionary[name].scale == "log"
    into, out_of = (np.log1p, np.expm1) if log else (float, float)
    low, _ = bundle.applicability.ranges[BREAST_CANCER][name]
    steps = [0.0, 0.02, 0.05, 0.1]
    numbers = [float(out_of(into(high) + step * (into(high) - into(low)))) for step in steps]
    numbers[0] = high
    found = [first(bundle, BREAST | {name: number}) for number in numbers]
    assert {each.probability for each in found} == {found[0].probability}
    lows, highs = [each.low for each in found], [each.high for each in found]
    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs)
    assert lows[-1] < lows[0]
    assert highs[-1] > highs[0]
    for number in numbers[1:]:
        warnings = predicted(bundle, BREAST | {name: number}).warnings
        assert [(w.kind, w.predictor) for w in warnings] == [("out_of_range", name)]
    at_border, beyond = (contributions(bundle, BREAST | {name: n}) for n in (numbers[0], numbers[-1]))
    assert at_border == beyond


def test_what_is_too_far_is_refused_by_name_and_never_shown(bundle):
    ages = bundle.applicability.ranges[BREAST_CANCER]["age"]
    farthest = ages[1] + (ages[1] - ages[0]) / 2
    assert first(bundle, BREAST | {"age": farthest - 0.01})
    with pytest.raises(InvalidRequest) as refused:
        bundle.validate(BREAST | {"age": farthest + 0.01, "months_diagnosis_to_relapse": 600.0})
    named = {problem.field for problem in refused.value.problems}
    assert "age" in named
    assert named <= {"age", "months_diagnosis_to_relapse"}
    assert f"{farthest + 0.01:.2f}" not in str(refused.value)
    with pytest.raises(InvalidRequest, match="age"):
        bundle.answer(BREAST | {"age": farthest + 0.01})
    (answer,) = bundle.answers([BREAST | {"age": farthest + 0.01}])
    assert isinstance(answer, InvalidRequest)


def test_a_category_that_training_did_not_see_counts_as_unknown_with_its_caution(bundle):
    """Every made man has colorectal cancer, so of a man with breast cancer the sex tells nothing."""
    man, nobody = BREAST | {"sex": "male"}, {n: v for n, v in BREAST.items() if n != "sex"}
    one, other = predicted(bundle, man), predicted(bundle, nobody)
    assert [(w.kind, w.predictor) for w in one.warnings] == [("unseen_category", "sex")]
    assert "the answer takes it as not known" in one.warnings[0].message
    assert [w.kind for w in other.warnings] == ["not_known"]
    ours, theirs = (each.endpoints[0].outcomes[0] for each in (one, other))
    assert ours.curve == theirs.curve
    for mine, yours in zip(ours.explanation.scales, theirs.explanation.scales, strict=True):
        assert [c.contribution for c in mine.contributions] == [c.contribution for c in yours.contributions]
        assert mine.groups == yours.groups
    rows, _ = completed(bundle, man)
    assert rows.unknown[0, bundle.dictionary.names.index("sex")]


def test_an_answer_stays_that_of_training_where_every_value_is_known(several):
    """Nothing is drawn: the one row is the patient's own."""
    rows, X = completed(several, BREAST)
    assert rows.complete
    np.testing.assert_array_equal(rows.X, X)
    assert not rows.unknown.any()
    assert rows.told == (None,)
    alone = replace(several, endpoints=several.endpoints[:1])
    found = predicted(alone, BREAST).endpoints[0].outcomes[0].explanation.scales[0]
    expected = alone.endpoints[0].model.predict(X, np.zeros(1, dtype=np.int64), np.array([24.0]))[0, 0, 0]
    assert found.prediction == pytest.approx(expected, abs=1e-12)
