"""One endpoint's numbers, by the model, the intervals and the explainer themselves, and their words."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.answer.curves import monotone
from models.answer.endpoint_answer import EndpointAnswer, curve_months
from models.estimators.interface import NO_TIME, Model
from models.explanation.attribution import EXACT, PROBABILITY
from models.explanation.sampled import SAMPLED
from models.prediction import LowerBound, MedianTime
from tests.lib.patients import protocol

pytestmark = pytest.mark.filterwarnings(  # raised by shap's figures as it loads
    "ignore:The set_.* function will be deprecated:PendingDeprecationWarning"
)
DISEASE = protocol().diseases[0]
KINDS = ("survival", "competing", "response", "sampled")
ROWS = 12


@pytest.fixture(params=KINDS)
def endpoint(request, several, sampled):
    return dict(zip(KINDS, (*several.endpoints, *sampled.endpoints), strict=True))[request.param]


@pytest.fixture
def rows(several, cohort):
    """Encoded patients, taken to be of one disease, and their values, which are those of no field."""
    return several.encoder.encode(cohort)[:ROWS], np.zeros(ROWS, dtype=np.int64)


def predictions(answer, X, strata):
    """Return each row's prediction."""
    numbers = answer.numbers(X, strata)
    fields = answer.endpoint.dictionary.fields
    made = []
    for values, crossings in zip(numbers.values.tolist(), numbers.crossings.tolist(), strict=True):
        assert len(values) == answer.count
        assert len(crossings) == answer.times
        times = [answer.time(at, months) for at, months in enumerate(crossings)]
        given = iter(values), [None] * len(fields), iter(times)
        made.append(answer.prediction(*given))
        assert [*given[0], *given[2]] == []
    return made


def by_outcome(made):
    """Yield row, outcome's place and what is said of it."""
    for row, prediction in enumerate(made):
        for at, outcome in enumerate(prediction.outcomes):
            yield row, at, outcome


def test_probabilities_and_curves_are_the_models_with_the_intervals_ends(endpoint, rows):
    answer = EndpointAnswer.of(endpoint, DISEASE, None)
    made, falls = predictions(answer, *rows), endpoint.endpoint.falls
    horizons = np.array(endpoint.explainable(DISEASE)) if endpoint.endpoint.timed else NO_TIME
    stated = endpoint.model.predict(*rows, horizons)
    low, high = endpoint.intervals.around(stated, rows[0])
    months = curve_months(endpoint.supported[DISEASE]) if endpoint.endpoint.timed else NO_TIME
    curves = monotone(endpoint.model.predict(*rows, months), falling=falls)
    for row, at, outcome in by_outcome(made):
        said = [(p.probability, p.low, p.high) for p in outcome.probabilities if p.reason is None]
        expected = np.stack([stated[row, at], low[row, at], high[row, at]], axis=1)
        np.testing.assert_allclose(said, expected, rtol=0, atol=1e-12)
        if endpoint.endpoint.timed:
            assert outcome.curve.months == (0.0, *months.tolist())
            assert outcome.curve.probability[0] == (1.0 if falls else 0.0)
            np.testing.assert_allclose(outcome.curve.probability[1:], curves[row, at], rtol=0, atol=1e-12)
        else:
            assert outcome.curve is None


@dataclass(frozen=True)
class Wavering:
    """A model whose curves waver on their way down."""

    model: Model

    @property
    def outcomes(self):
        return self.model.outcomes

    def predict(self, X, strata, times):
        return np.clip(self.model.predict(X, strata, times) + 0.05 * np.sin(times), 0.0, 1.0)


def test_a_curve_that_wavers_is_reported_as_running_one_way(sampled, rows):
    endpoint = replace(sampled.endpoints[0], model=Wavering(sampled.endpoints[0].model))
    answer, some = EndpointAnswer.of(endpoint, DISEASE, None), (rows[0][:2], rows[1][:2])
    wavering = endpoint.model.predict(*some, curve_months(endpoint.supported[DISEASE]))
    assert (np.diff(wavering, axis=2) > 0.0).any()
    for row, at, outcome in by_outcome(predictions(answer, *some)):
        reported = outcome.curve.probability[1:]
        assert (np.diff(reported) <= 0.0).all()
        np.testing.assert_array_equal(reported, np.minimum.accumulate(wavering[row, at]))


def test_explanations_are_the_explainers_at_the_horizon_on_both_scales(endpoint, rows):
    horizons = endpoint.explainable(DISEASE)[:1] or (None,)
    answer = EndpointAnswer.of(endpoint, DISEASE, horizons[0])
    attributions = endpoint.explainer.explain(*rows, answer.explained)
    grouped = attributions.by_group(endpoint.group)
    for row, at, outcome in by_outcome(predictions(answer, *rows)):
        assert outcome.explanation.horizon == horizons[0]
        assert outcome.explanation.method == endpoint.explainer.method in (EXACT, SAMPLED)
        for place, scale in enumerate(outcome.explanation.scales):
            here = row, place, at, 0
            assert scale.scale == (PROBABILITY, endpoint.endpoint.link)[place]
            assert scale.prediction == attributions.prediction[here]
            assert scale.reference == attributions.reference[here[1:]]
            assert [c.predictor for c in scale.contributions] == list(endpoint.dictionary.names)
            assert [c.contribution for c in scale.contributions] == attributions.contributions[here].tolist()
            assert [g.group for g in scale.groups] == list(endpoint.group_names)
            assert [g.contribution for g in scale.groups] == grouped[here].tolist()
            total = scale.reference + sum(c.contribution for c in scale.contributions)
            assert total == pytest.approx(scale.prediction, abs=1e-6)


def test_a_sampled_explanation_states_its_error_and_an_exact_one_none(several, sampled, rows):
    (endpoint,) = sampled.endpoints
    answer = EndpointAnswer.of(endpoint, DISEASE, None)
    attributions = endpoint.explainer.explain(*rows, answer.explained)
    for row, at, outcome in by_outcome(predictions(answer, *rows)):
        errors = [scale.standard_error for scale in outcome.explanation.scales]
        assert errors == attributions.standard_error[row, :, at, 0].tolist()
        assert min(errors) >= 0.0
    for exact in several.endpoints:
        for *_, outcome in by_outcome(predictions(EndpointAnswer.of(exact, DISEASE, None), *rows)):
            assert {scale.standard_error for scale in outcome.explanation.scales} == {None}


def test_medians_and_bounds_are_where_the_drawn_curve_crosses_them(endpoint, rows):
    answer = EndpointAnswer.of(endpoint, DISEASE, None)
    for _, _, outcome in by_outcome(predictions(answer, *rows)):
        if not endpoint.endpoint.falls:
            assert outcome.median is outcome.at_least is None
            continue
        curve, limit = outcome.curve, endpoint.supported[DISEASE]
        levels = {outcome.median: 0.5}
        if outcome.at_least is not None:
            levels[outcome.at_least] = 1.0 - endpoint.bounds.chance(DISEASE)
        for time, level in levels.items():
            assert isinstance(time, MedianTime | LowerBound)
            if curve.probability[-1] > level:
                assert time.months == (None if isinstance(time, MedianTime) else limit)
            else:
                drawn = np.interp(time.months, curve.months, curve.probability)
                assert drawn == pytest.approx(level, abs=1e-9)


def test_many_are_answered_as_each_alone_bit_for_bit(endpoint, rows):
    answer, (X, strata) = EndpointAnswer.of(endpoint, DISEASE, None), rows
    together = answer.numbers(X, strata)
    for row in range(ROWS):
        alone = answer.numbers(X[[row]], strata[[row]])
        np.testing.assert_array_equal(together.values[row], alone.values[0])
        np.testing.assert_array_equal(together.crossings[row], alone.crossings[0])


def test_changes_of_scores_lead_to_the_first_answers(several, rows):
    """What next tests are ranked by is what the model answers with the test's value."""
    X, strata = rows
    for endpoint in several.endpoints:
        answer = EndpointAnswer.of(endpoint, DISEASE, None)
        numbers, columns = answer.numbers(X[:1], strata[:1]), [0, 2]
        changed = np.repeat(X[:1], 5, axis=0)
        changed[1:, columns] = X[1:5][:, columns]
        changes = answer.score_changes(changed, strata[:5], columns)
        found = answer.first_answers(changed, strata[:5], numbers.scores + changes)
        expected = endpoint.model.predict(changed, strata[:5], answer.explained)[:, 0, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_model_without_scores_answers_by_itself(sampled, rows):
    X, strata = rows
    answer = EndpointAnswer.of(sampled.endpoints[0], DISEASE, None)
    assert answer.numbers(X[:1], strata[:1]).scores is None
    assert answer.score_changes(X, strata, [0]) is None
    expected = sampled.endpoints[0].model.predict(X, strata, answer.explained)[:, 0, 0]
    np.testing.assert_array_equal(answer.first_answers(X, strata, None), expected)


def test_what_falls_holds_at_a_time_and_anything_else_has_happened_by_it(several):
    survival, competing, response = several.endpoints
    assert survival.words("overall_survival", 12.0) == "probability of being alive at 12 months"
    assert competing.words("relapse", 12.0) == "probability of relapse or progression by 12 months"
    assert response.words("complete_response", None) == "probability of a complete response"


def test_units_of_an_explanation_name_scale_and_horizon(endpoint, rows):
    answer = EndpointAnswer.of(endpoint, DISEASE, None)
    outcome = predictions(answer, *rows)[0].outcomes[0]
    by = "" if answer.horizon is None else f" {endpoint.by} {answer.horizon:g} months"
    assert [scale.unit for scale in outcome.explanation.scales] == [
        endpoint.words(outcome.outcome, answer.horizon),
        f"{endpoint.endpoint.link.replace('_', ' ')}{by}",
    ]
