"""The bundle: its answers and its scope."""

from dataclasses import replace
from functools import cache
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dictionary import load_dictionary
from features.endpoints import LOG_CUMULATIVE_HAZARD
from features.errors import InvalidRequest
from models.answer.endpoint_answer import curve_months
from models.bundle.tables import score_cohort
from models.explanation.attribution import PROBABILITY
from models.patient.applicability import Applicability
from tests.lib.patients import BREAST, protocol, simulated_cohort
from tests.models.bundle.hostile import BOUNDS


def said(answer):
    """Return what was said of the only outcome."""
    ((outcome,),) = (endpoint.outcomes for endpoint in answer.endpoints)
    return outcome


def supporting(bundle, limits):
    """Return the bundle with other follow-up."""
    (endpoint,) = bundle.endpoints
    return replace(bundle, endpoints=(replace(endpoint, supported=limits),))


@cache
def near(disease):
    """Return, by number, from where to where it is not too far from what training saw."""
    study = protocol()
    seen = Applicability.fit(simulated_cohort(), predictors=study.predictors, diseases=study.diseases)
    checks = seen._checks(disease, load_dictionary().slice(study.predictors))
    return {check.field: (check.least, check.most) for check in checks}


@st.composite
def patients(draw):
    """Draw any patient that is answered for: every field that applies, or its absence."""
    disease = draw(st.sampled_from(protocol().diseases))
    patient = {"disease": disease}
    for field in load_dictionary().slice(protocol().predictors).fields:
        if field.name == "disease" or not field.applies(disease) or draw(st.booleans()):
            continue
        if field.type == "category":
            patient[field.name] = draw(st.sampled_from(field.category_names))
        elif field.type == "flag":
            patient[field.name] = draw(st.booleans())
        else:
            least, most = near(disease)[field.name]
            fewest, largest = field.usual or (field.minimum, field.maximum)  # beyond, another unit may fit
            low, high = max(fewest, least), min(largest, most)
            if field.type == "integer":
                patient[field.name] = draw(st.integers(ceil(low), floor(high)))
            else:
                patient[field.name] = draw(st.floats(low, high))
    return patient


# --- answers ---------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(patients(), st.data())
def test_for_any_valid_patient_survival_never_rises_and_explanations_add_up(bundle, patient, data):
    limit = bundle.endpoints[0].supported[patient["disease"]]
    horizon = data.draw(st.sampled_from([h for h in bundle.protocol.horizons if h <= limit]))
    answer = said(bundle.predict(bundle.validate(patient, horizon=horizon), horizon=horizon))
    survival = np.array(answer.curve.probability)
    assert answer.curve.months[0] == 0.0
    assert answer.curve.probability[0] == 1.0
    assert answer.curve.months[-1] == limit
    assert (np.diff(answer.curve.months) > 0).all()
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival) <= 0).all()
    stated = [at.probability for at in answer.probabilities if at.probability is not None]
    assert stated == sorted(stated, reverse=True)
    for scale in answer.explanation.scales:
        total = scale.reference + sum(c.contribution for c in scale.contributions)
        assert total == pytest.approx(scale.prediction, abs=1e-6)
        assert scale.coherence == 0.0


def test_curve_horizons_and_explanation_state_the_same_probability(bundle):
    answer = said(bundle.predict(bundle.validate(BREAST)))
    curve = dict(zip(answer.curve.months, answer.curve.probability, strict=True))
    for at in answer.probabilities:
        assert at.probability == pytest.approx(curve[at.horizon], abs=1e-12)
    scale = next(s for s in answer.explanation.scales if s.scale == PROBABILITY)
    assert scale.prediction == pytest.approx(curve[24.0], abs=1e-12)


def test_the_median_is_where_the_curve_crosses_one_half(bundle):
    answer = said(bundle.predict(bundle.validate(BREAST | {"positive_lymph_nodes": 30})))
    assert answer.median.reason is None
    drawn = np.interp(answer.median.months, answer.curve.months, answer.curve.probability)
    assert drawn == pytest.approx(0.5, abs=1e-9)


def test_the_bound_is_where_the_curve_falls_as_far_as_nine_in_ten_outlived(bundle):
    (endpoint,) = bundle.endpoints
    answer = said(bundle.predict(bundle.validate(BREAST)))
    drawn = np.interp(answer.at_least.months, answer.curve.months, answer.curve.probability)
    assert drawn == pytest.approx(1.0 - endpoint.bounds.chance("breast_cancer"), abs=1e-9)
    assert answer.at_least.level == 0.9
    assert 0.0 < answer.at_least.months < answer.median.months


def test_a_bound_beyond_follow_up_is_the_last_month_supported(bundle):
    short = supporting(bundle, {"breast_cancer": 12.5, "colorectal_cancer": 12.5})
    (endpoint,) = short.endpoints
    never = replace(endpoint.bounds, chances=(1.0, 1.0))
    short = replace(short, endpoints=(replace(endpoint, bounds=never),))
    assert said(short.predict(short.validate(BREAST))).at_least.months == 12.5


def test_without_the_events_to_calibrate_it_there_is_no_bound(bundle):
    (endpoint,) = bundle.endpoints
    without = replace(bundle, endpoints=(replace(endpoint, bounds=None),))
    assert said(without.predict(without.validate(BREAST))).at_least is None
    assert BOUNDS not in without.files()


def test_a_median_beyond_follow_up_is_null_with_its_reason(bundle):
    short = supporting(bundle, dict.fromkeys(bundle.endpoints[0].supported, 14.0))
    answer = said(short.predict(short.validate(BREAST | {"positive_lymph_nodes": 0})))
    assert answer.curve.probability[-1] > 0.5
    assert answer.median.months is None
    assert "more than half are predicted to get beyond 14 months" in answer.median.reason


def test_the_explanation_names_every_predictor_of_the_disease_with_its_value_on_both_scales(bundle):
    explanation = said(bundle.predict(bundle.validate(BREAST), horizon=36.0)).explanation
    assert explanation.horizon == 36.0
    assert [scale.scale for scale in explanation.scales] == [PROBABILITY, LOG_CUMULATIVE_HAZARD]
    for scale in explanation.scales:
        applying = [f.name for f in bundle.dictionary.fields if f.applies("breast_cancer")]
        assert [c.predictor for c in scale.contributions] == applying
        assert set(applying) == set(BREAST)
        stated = {c.predictor: c.value for c in scale.contributions}
        assert stated == BREAST
        assert scale.reference_name == "mean prediction of the training patients with this disease"
        assert scale.whole_name == "mean prediction of all training patients"


def test_the_reference_is_the_mean_answer_of_the_disease_s_training_patients(bundle, cohort):
    """And the whole that of all of them, at a horizon that both diseases support."""
    answers = bundle.probabilities(cohort, "overall_survival", np.array([24.0]))[:, 0, 0]
    strata = bundle.strata(cohort)
    for at, patient in enumerate((BREAST, {"disease": "colorectal_cancer"})):
        scale = said(bundle.predict(bundle.validate(patient), horizon=24.0)).explanation.scales[0]
        assert scale.reference == pytest.approx(answers[strata == at].mean(), abs=0.01)
        assert scale.whole == pytest.approx(answers.mean(), abs=0.01)


def test_the_protocols_horizon_is_explained_when_none_is_asked_for(bundle):
    assert said(bundle.predict(bundle.validate(BREAST))).explanation.horizon == protocol().explained_horizon


def test_a_whole_cohort_is_answered_as_its_patients_are(bundle, cohort):
    answered = score_cohort(bundle, cohort)
    for row in range(0, len(cohort), 40):
        alone = said(bundle.predict(cohort.take(np.array([row]))))
        expected = [np.nan if at.probability is None else at.probability for at in alone.probabilities]
        np.testing.assert_allclose(answered[row], expected, atol=1e-12)


def test_a_patient_unlike_the_training_cohort_is_answered_with_a_warning(bundle):
    answer = bundle.predict(bundle.validate(BREAST | {"age": 100.0}))
    assert [(w.kind, w.predictor) for w in answer.warnings] == [("out_of_range", "age")]


@pytest.mark.parametrize(("limit", "months"), [(5.0, [2, 4, 5]), (4.0, [2, 4]), (1.5, [1.5])])
def test_a_curve_is_drawn_every_second_month_and_where_it_ends(limit, months):
    assert curve_months(limit).tolist() == months


# --- scope -----------------------------------------------------------------------------------------------


def problems(bundle, patient, **options):
    with pytest.raises(InvalidRequest) as refused:
        bundle.validate(patient, **options)
    return [(p.field, p.problem) for p in refused.value.problems]


def test_a_disease_outside_the_protocol_is_refused(bundle):
    narrow = replace(bundle, protocol=replace(bundle.protocol, diseases=("breast_cancer",)))
    assert problems(narrow, {"disease": "colorectal_cancer", "age": 60.0}) == [
        ("disease", "is outside this model's scope")
    ]


def test_a_disease_nobody_knows_is_refused(bundle):
    assert problems(bundle, BREAST | {"disease": "glioma"})[0] == ("disease", "unknown category")


def test_a_patient_without_a_disease_is_refused(bundle):
    assert problems(bundle, {"age": 60.0}) == [("disease", "is missing")]


def test_every_problem_is_reported_at_once(bundle):
    wrong = BREAST | {"age": -1.0, "shoe_size": 44}
    named = {field for field, _ in problems(bundle, wrong, horizon=13.0)}
    assert named == {"age", "shoe_size", "horizon"}


def test_a_field_of_the_other_disease_is_refused(bundle):
    assert problems(bundle, BREAST | {"prior_levamisole": True}) == [
        ("prior_levamisole", "does not apply to this disease")
    ]


def test_an_outcome_is_no_predictor(bundle):
    assert problems(bundle, BREAST | {"died": True}) == [("died", "unknown field")]


def test_a_horizon_beyond_follow_up_is_null_with_its_reason_and_cannot_be_explained(bundle):
    patient = {"disease": "colorectal_cancer", "age": 60.0}
    answer = said(bundle.predict(bundle.validate(patient)))
    by_horizon = {at.horizon: at for at in answer.probabilities}
    assert by_horizon[60.0].probability is None
    assert by_horizon[60.0].reason == "follow-up in this disease supports 40 months"
    assert by_horizon[36.0].probability is not None
    assert by_horizon[36.0].reason is None
    assert problems(bundle, patient, horizon=60.0) == [("horizon", "cannot be explained in this disease")]
    assert bundle.validate(patient, horizon=36.0).patients == ("patient",)
    assert bundle.validate(BREAST, horizon=60.0).patients == ("patient",)


def test_a_horizon_outside_the_protocol_cannot_be_explained(bundle):
    assert problems(bundle, BREAST, horizon=30.0) == [("horizon", "cannot be explained in this disease")]


def test_answers_beyond_follow_up_are_missing_in_a_table(bundle, cohort):
    answered = score_cohort(bundle, cohort)
    colorectal = bundle.strata(cohort) == 1
    assert np.isnan(answered[colorectal, -1]).all()
    assert not np.isnan(answered[colorectal, :-1]).any()
    assert not np.isnan(answered[~colorectal]).any()
