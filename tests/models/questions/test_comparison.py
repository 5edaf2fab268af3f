"""Plans side by side: supported by patients, told as benefit or harm, differences that agree with answers."""

from dataclasses import replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidRequest
from models.bundle.bundle import ModelBundle
from models.patient.plans import Plans
from models.questions.comparison import Comparison, compare
from tests.lib.fitting import PLAN
from tests.lib.patients import BREAST, provenance, simulated_frame
from tests.serving.several import several_bundle, study
from training.evaluate import Evaluation
from training.fit import bundle_from, fit_models, read_outcomes
from training.report import model_card

PATIENTS = 300
CHEMOTHERAPY, RADIATION = {"plan_chemotherapy": True}, {"plan_chemotherapy": False, "plan_radiation": True}
BOTH = {"plan_chemotherapy": True, "plan_radiation": True}
PLANS = CHEMOTHERAPY, RADIATION


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    """Two endpoints; chemotherapy goes with longer survival, and nobody had both plans."""
    rng = np.random.default_rng(3)
    frame = simulated_frame(PATIENTS, seed=4)
    followed = frame["months_followed"].astype(float)
    chemotherapy = rng.random(PATIENTS) < 1.0 / (1.0 + np.exp(-(followed - followed.median()) / 10.0))
    frame = frame.assign(
        plan_chemotherapy=np.array(chemotherapy.tolist(), dtype=object),
        plan_radiation=np.array((~chemotherapy & (rng.random(PATIENTS) < 0.7)).tolist(), dtype=object),
        grade_3_toxicity=np.array((rng.random(PATIENTS) < 0.2 + 0.4 * chemotherapy).tolist(), dtype=object),
    )
    known = load_dictionary()
    dictionary = known.slice(known.ordered(name for name in frame if name != "patient"))
    cohort = Cohort.from_frame(frame, dictionary=dictionary, provenance=(provenance(PATIENTS),))
    predictors = known.ordered((*(p for p in study().predictors if p in frame), *BOTH))
    asked = replace(
        study(),
        name="plans",
        endpoints=("overall_survival", "grade_3_toxicity"),
        predictors=tuple(predictors),
    )
    outcomes = read_outcomes(cohort, asked)
    card = model_card(cohort, outcomes, Evaluation({}), protocol=asked, plan=PLAN)
    fitted = fit_models(cohort, outcomes, protocol=asked, plan=PLAN)
    return bundle_from(fitted, cohort, outcomes, protocol=asked, plan=PLAN, card=card)


@pytest.fixture(scope="module")
def found(bundle) -> Comparison:
    return compare(bundle, BREAST, [CHEMOTHERAPY, RADIATION, BOTH])


def test_support_counts_the_patients_of_the_disease_who_had_all_that_a_plan_names(bundle, found):
    assert [plan.support for plan in found.plans] == [
        bundle.plans.support("breast_cancer", plan) for plan in (CHEMOTHERAPY, RADIATION, BOTH)
    ]
    everyone = bundle.plans.support("breast_cancer", {})
    assert everyone == sum(count for _, count in bundle.plans.patterns["breast_cancer"])
    without = bundle.plans.support("breast_cancer", {"plan_chemotherapy": False})
    assert found.plans[0].support + without == everyone
    assert 0 < found.plans[1].support < without


def test_a_plan_that_nobody_had_is_refused_and_the_others_are_answered(found):
    assert found.plans[2].support == 0
    assert found.plans[2].refused == "no training patient of this disease had this plan"
    assert found.plans[2].outcomes == ()
    assert found.compared_with == 0
    assert all(plan.refused is None and plan.outcomes for plan in found.plans[:2])


def test_answers_are_those_of_a_prediction_for_the_patient_with_the_plan(bundle, found):
    for plan, answered in zip((CHEMOTHERAPY, RADIATION), found.plans, strict=False):
        prediction = bundle.predict(bundle.validate(BREAST | plan))
        stated = {
            (endpoint.endpoint, outcome.outcome, at.horizon): at
            for endpoint in prediction.endpoints
            for outcome in endpoint.outcomes
            for at in outcome.probabilities
            if at.probability is not None
        }
        assert len(answered.outcomes) == len(stated)
        for said in answered.outcomes:
            at = stated[said.endpoint, said.outcome, said.horizon]
            assert (said.probability, said.low, said.high) == pytest.approx(
                (at.probability, at.low, at.high), abs=1e-12
            )


def test_differences_are_from_the_first_plan_and_lie_within_their_interval(found):
    first, second = found.plans[:2]
    assert all(said.difference is None for said in first.outcomes)
    for ours, theirs in zip(second.outcomes, first.outcomes, strict=True):
        assert ours.difference == pytest.approx(ours.probability - theirs.probability, abs=1e-12)
        assert ours.difference_low <= ours.difference <= ours.difference_high
        assert ours.difference_high > ours.difference_low


def test_benefits_and_harms_stand_side_by_side(found):
    told = {(said.outcome, said.direction) for said in found.plans[0].outcomes}
    assert told == {("overall_survival", "benefit"), ("grade_3_toxicity", "harm")}
    by_outcome = {said.outcome: said for said in found.plans[1].outcomes}
    assert by_outcome["overall_survival"].difference < 0, "radiation went with shorter survival"
    assert by_outcome["grade_3_toxicity"].difference < 0, "and with less toxicity"


def test_a_horizon_beyond_the_follow_up_has_a_reason_and_no_number(bundle):
    survival, toxicity = bundle.endpoints
    short = replace(
        bundle, endpoints=(replace(survival, supported=dict.fromkeys(survival.supported, 30.0)), toxicity)
    )
    for plan in compare(short, BREAST, [CHEMOTHERAPY, RADIATION]).plans:
        beyond = [said for said in plan.outcomes if said.horizon is not None and said.horizon > 30.0]
        assert [said.horizon for said in beyond] == [36.0, 60.0]
        assert {said.reason for said in beyond} == {"follow-up in this disease supports 30 months"}
        assert {(said.probability, said.low, said.difference) for said in beyond} == {(None, None, None)}


def test_each_plan_says_how_typical_the_patient_is_with_it_and_why_to_trust_it_less(bundle, found):
    for plan, answered in zip((CHEMOTHERAPY, RADIATION), found.plans, strict=False):
        prediction = bundle.predict(bundle.validate(BREAST | plan))
        assert (answered.typical, answered.warnings) == (prediction.typical, prediction.warnings)
    assert (found.plans[2].typical, found.plans[2].warnings) == (None, ())


def test_the_same_plan_twice_differs_by_nothing(bundle):
    twice = compare(bundle, BREAST, [CHEMOTHERAPY, CHEMOTHERAPY]).plans[1]
    for said in twice.outcomes:
        ends = said.difference, said.difference_low, said.difference_high
        assert ends == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_every_fault_of_patient_and_plans_is_named_at_once(bundle):
    plans = [{"age": 3.0}, {"plan_chemotherapy": "yes"}]
    with pytest.raises(InvalidRequest) as caught:
        compare(bundle, BREAST | {"age": -1.0}, plans)
    assert {problem.field for problem in caught.value.problems} == {
        "age",
        "plans[1].age",
        "plans[2].plan_chemotherapy",
    }


@pytest.mark.parametrize("count", [0, 11])
def test_no_plans_and_too_many_are_refused(bundle, count):
    with pytest.raises(InvalidRequest, match="give 1 to 10 plans"):
        compare(bundle, BREAST, [CHEMOTHERAPY] * count)


def test_a_model_without_plans_compares_nothing():
    with pytest.raises(InvalidRequest, match="knows no plans"):
        compare(several_bundle(), BREAST, [CHEMOTHERAPY])


def test_plans_are_read_as_they_were_written(bundle):
    assert Plans.from_dict(bundle.plans.as_dict()) == bundle.plans


@pytest.mark.parametrize("left_out", [("age",), ("age", "tumour_grade", "positive_lymph_nodes")])
def test_what_is_not_known_of_the_patient_is_the_same_under_every_plan(bundle, left_out):
    """Else each plan would be answered for the patients who tend to have it."""
    known = {name: value for name, value in BREAST.items() if name not in left_out}
    bare = bundle.validate(known)
    owners = np.array([bundle.encoder.predictors[at] in bundle.plans.names for at in bundle.encoder.owners()])
    rows = []
    for plan in PLANS:
        patient = bundle.validate(known | plan)
        completed = bundle.completion.complete_under(bundle.plans.names, patient, bare)
        told = bundle.encoder.encode(patient)[0, owners]
        for column, value in zip(completed.X[:, owners].T, told, strict=True):
            assert np.isnan(value) or (column == value).all()
        unknown = {bundle.encoder.predictors[at] for at in np.flatnonzero(completed.unknown[0])}
        assert unknown == {*left_out, *(set(BOTH) - set(plan))}
        rows.append(completed)
    np.testing.assert_array_equal(rows[0].X[:, ~owners], rows[1].X[:, ~owners])
    alone = [bundle.completion.complete_cohort(bundle.validate(known | p)).X[:, ~owners] for p in PLANS]
    assert alone[0].shape != alone[1].shape or (alone[0] != alone[1]).any(), "the plans tell nothing here"
    assert (rows[0].X[:, ~owners] != rows[0].X[0, ~owners]).any()
    compared = compare(bundle, known, [CHEMOTHERAPY, RADIATION])
    for ours, theirs in zip(compared.plans[1].outcomes, compared.plans[0].outcomes, strict=True):
        assert ours.difference == pytest.approx(ours.probability - theirs.probability, abs=1e-12)
        assert ours.difference_low <= ours.difference <= ours.difference_high
