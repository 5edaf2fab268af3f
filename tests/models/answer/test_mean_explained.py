"""The restricted mean's contributions sum to it, in every survival endpoint and with values unknown."""

import numpy as np
import pytest

from models.answer.mean_explained import under_curve
from models.questions.timeline import explain_over_time
from tests.serving.several import EXAMINED, several_bundle

PATIENTS = (
    EXAMINED,
    {k: v for k, v in EXAMINED.items() if k not in ("age", "albumin")},
    {"disease": "breast_cancer"},
)


@pytest.mark.parametrize("patient", PATIENTS)
def test_contributions_sum_to_the_months_that_are_answered(patient):
    bundle = several_bundle()
    explained = explain_over_time(bundle, patient, [])
    survival = [t for t in explained.timelines if t.endpoint.endswith("survival")]
    assert len(survival) == 2
    for timeline in survival:
        assert len(timeline.restricted_means) == len(timeline.explanations)
        for scale, beside in zip(timeline.restricted_means, timeline.explanations, strict=True):
            answer = bundle.predict(bundle.validate(patient), horizon=beside.horizon)
            (outcome,) = next(e.outcomes for e in answer.endpoints if e.endpoint == timeline.endpoint)
            assert scale.prediction == outcome.restricted_mean.months
            total = scale.reference + scale.coherence + sum(c.contribution for c in scale.contributions)
            assert total == pytest.approx(scale.prediction, abs=1e-6)
            assert [c.predictor for c in scale.contributions] == [
                c.predictor for c in beside.scales[0].contributions
            ]
            grouped = sum(group.contribution for group in scale.groups)
            assert grouped == pytest.approx(sum(c.contribution for c in scale.contributions), abs=1e-9)


def test_other_timelines_have_none():
    others = [
        t for t in explain_over_time(several_bundle(), EXAMINED, []).timelines if "survival" not in t.endpoint
    ]
    assert others
    assert all(t.restricted_means == () for t in others)


def test_weights_are_the_area_under_straight_lines():
    times, weights = under_curve(np.array([2.0, 3.5, 6.0]), 5.0)
    heights = np.array([1.0, 0.8, 0.5, 0.4])
    assert weights @ heights == pytest.approx(np.trapezoid(heights, np.append(0.0, times)))
