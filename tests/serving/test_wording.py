"""Words about what an answer rests on."""

from dataclasses import replace

from serving.wording import agreed, rationale, unknown
from tests.lib.patients import BREAST


def outcome_of(bundle, patient):
    return bundle.predict(bundle.validate(patient)).endpoints[0].outcomes[0]


def with_coherence(outcome, by):
    explanation = outcome.explanation
    scales = tuple(replace(scale, coherence=by) for scale in explanation.scales)
    return replace(outcome, explanation=replace(explanation, scales=scales))


def test_what_made_endpoints_agree_is_said_where_it_counts(bundle):
    outcome = outcome_of(bundle, BREAST)
    assert agreed(outcome) == agreed(with_coherence(outcome, 0.0001)) == ""
    moved = with_coherence(outcome, -0.021)
    assert agreed(moved) == " Agreeing with the other endpoints adds -2.1 points."
    assert agreed(moved) in rationale(moved)


def test_what_is_not_known_is_said_as_one_sum(bundle):
    assert unknown(outcome_of(bundle, BREAST)) == ""
    told = unknown(outcome_of(bundle, {"disease": "breast_cancer"}))
    assert told.startswith(" What is not known adds ")
    assert told in rationale(outcome_of(bundle, {"disease": "breast_cancer"}))
