"""One endpoint's numbers, by the model, the intervals and the explainer themselves, and their words."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.answer.curves import monotone, monotone_ends
from models.answer.endpoint_answer import EndpointAnswer, curve_months
from models.answer.fitted_endpoint import NOT_KNOWN
from models.estimators.interface import NO_TIME, Model
from models.explanation.attribution import EXACT, PROBABILITY
from models.explanation.sampled import SAMPLED
from models.patient.completion import joined
from models.prediction import LowerBound, MedianTime
from tests.lib.patients import protocol
from tests.models.answer.conftest import HIDDEN

pytestmark = pytest.mark.filterwarnings(  # raised by shap's figures as it loads
    "ignore:The set_.* function will be deprecated:PendingDeprecationWarning"
)
DISEASE = protocol().diseases[0]
KINDS = ("survival", "competing", "response", "sampled")
DISEASES = protocol().diseases


@pytest.fixture(params=KINDS)
def endpoint(request, several, sampled):
    return dict(zip(KINDS, (*several.endpoints, *sampled.endpoints), strict=True))[request.param]


def answering(endpoint, horizon=None):
    return EndpointAnswer.of(endpoint, DISEASES, DISEASE, horizon)


def applying(endpoint):
    """Return the predictors that have a meaning in the disease."""
    return [field for field in endpoint.dictionary.fields if field.applies(DISEASE)]


def strata(patients):
    """Return the disease of every row."""
    return np.zeros(len(patients.X), dtype=np.int64)


def predictions(answer, patients, X):
    """Return each patient's prediction, whose values are those of no field."""
    numbers = answer.numbers(patients, X)
    fields = applying(answer.endpoint)
    made = []
    for values, months in zip(numbers.values.tolist(), numbers.times.tolist(), strict=True):
        times = answer.times_of(months)
        assert len(values) == answer.count
        assert len(times) == answer.times
        given = iter(values), [None] * len(fields), iter(times)
        made.append(answer.prediction(*given))
        assert [*given[0], *given[2]] == []
    return made


def by_outcome(made):
    """Yield row, outcome's place and what is said of it."""
    for row, prediction in enumerate(made):
        for at, outcome in enumerate(prediction.outcomes):
            yield row, at, outcome


def test_probabilities_and_curves_are_the_models_means_over_rows_with_the_intervals_ends(endpoint, hidden):
    (patients, X), falls = hidden, endpoint.endpoint.falls
    made = predictions(answering(endpoint), *hidden)
    horizons = np.array(endpoint.explainable(DISEASE)) if endpoint.endpoint.timed else NO_TIME
    each = endpoint.model.predict(patients.X, strata(patients), horizons)
    stated, spread = patients.mean(each), patients.variance(endpoint.intervals.link.value(each))
    own = np.zeros(len(X), dtype=np.int64)
    ends = endpoint.intervals.around(stated, X, own, horizons, spread)
    low, high = monotone_ends(*ends, falling=falls)
    months = curve_months(endpoint.supported[DISEASE]) if endpoint.endpoint.timed else NO_TIME
    drawn = patients.mean(endpoint.model.predict(patients.X, strata(patients), months))
    curves = monotone(drawn, falling=falls)
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


def test_the_spread_over_rows_widens_the_interval(endpoint, hidden):
    """Of whoever is known it is that of the errors alone."""
    (patients, X), own = hidden, np.zeros(len(hidden[1]), dtype=np.int64)
    horizons = np.array(endpoint.explainable(DISEASE)) if endpoint.endpoint.timed else NO_TIME
    stated = patients.mean(endpoint.model.predict(patients.X, strata(patients), horizons))
    low, high = endpoint.intervals.around(stated, X, own, horizons)
    unknown = patients.unknown.any(axis=1)
    assert 3 < unknown.sum() < len(unknown)
    for row, at, outcome in by_outcome(predictions(answering(endpoint), *hidden)):
        stated_ends = [(p.low, p.high) for p in outcome.probabilities if p.reason is None]
        lows, highs = np.array(stated_ends).T
        if unknown[row]:
            assert (lows <= low[row, at] + 1e-12).all()
            assert (highs >= high[row, at] - 1e-12).all()
        else:
            np.testing.assert_allclose(lows, low[row, at], rtol=0, atol=1e-9)
            np.testing.assert_allclose(highs, high[row, at], rtol=0, atol=1e-9)


@dataclass(frozen=True)
class Wavering:
    """A model whose curves waver on their way down."""

    model: Model

    @property
    def outcomes(self):
        return self.model.outcomes

    def predict(self, X, strata, times):
        return np.clip(self.model.predict(X, strata, times) + 0.05 * np.sin(times), 0.0, 1.0)


def test_a_curve_that_wavers_is_reported_as_running_one_way(sampled, hidden):
    endpoint = replace(sampled.endpoints[0], model=Wavering(sampled.endpoints[0].model))
    some = joined(list(hidden[0].one_by_one())[:2])
    wavering = some.mean(
        endpoint.model.predict(some.X, strata(some), curve_months(endpoint.supported[DISEASE]))
    )
    assert (np.diff(wavering, axis=2) > 0.0).any()
    for row, at, outcome in by_outcome(predictions(answering(endpoint), some, hidden[1][:2])):
        reported = outcome.curve.probability[1:]
        assert (np.diff(reported) <= 0.0).all()
        expected = np.minimum.accumulate(wavering[row, at])
        np.testing.assert_allclose(reported, expected, rtol=0, atol=1e-12)


def test_explanations_are_the_explainers_at_the_horizon_on_both_scales(endpoint, hidden):
    (patients, _), horizons = hidden, endpoint.explainable(DISEASE)[:1] or (None,)
    answer = answering(endpoint, horizons[0])
    explainer = endpoint.explainer(DISEASE, 0)
    attributions = explainer.explain(patients, answer.explained)
    whole = endpoint.whole_reference(DISEASES, answer.explained)
    places = [endpoint.dictionary.names.index(field.name) for field in applying(endpoint)]
    rest = np.setdiff1d(np.arange(len(endpoint.dictionary.fields)), places)
    assert len(rest) > 0
    for row, at, outcome in by_outcome(predictions(answer, *hidden)):
        assert outcome.explanation.horizon == horizons[0]
        assert outcome.explanation.method == explainer.method in (EXACT, SAMPLED)
        for place, scale in enumerate(outcome.explanation.scales):
            here = row, place, at, 0
            own = attributions.contributions[here]
            assert scale.scale == (PROBABILITY, endpoint.endpoint.link)[place]
            assert scale.prediction == attributions.prediction[here]
            assert scale.reference == attributions.reference[here[1:]]
            assert scale.whole == whole[here[1:]]
            assert scale.coherence == 0.0
            assert [c.predictor for c in scale.contributions] == [f.name for f in applying(endpoint)]
            assert [c.contribution for c in scale.contributions] == own[places].tolist()
            np.testing.assert_allclose(own[rest], 0.0, atol=1e-12)
            total = scale.reference + sum(c.contribution for c in scale.contributions)
            assert total == pytest.approx(scale.prediction, abs=1e-6)


def test_groups_are_sums_of_known_predictors_and_last_of_what_is_not_known(endpoint, hidden):
    patients, _ = hidden
    for row, _, outcome in by_outcome(predictions(answering(endpoint), *hidden)):
        unknown = {endpoint.dictionary.names[at] for at in np.flatnonzero(patients.unknown[row])}
        assert unknown >= {name for name, rows in HIDDEN.items() if row in rows}
        for scale in outcome.explanation.scales:
            assert [g.group for g in scale.groups] == list(endpoint.group_names)
            assert scale.groups[-1].group == NOT_KNOWN
            expected = dict.fromkeys(endpoint.group_names, 0.0)
            for c in scale.contributions:
                expected[NOT_KNOWN if c.predictor in unknown else c.group] += c.contribution
            for group in scale.groups:
                assert group.contribution == pytest.approx(expected[group.group], abs=1e-9)


def test_a_sampled_explanation_states_its_error_and_an_exact_one_none(several, sampled, hidden):
    (endpoint,) = sampled.endpoints
    answer = answering(endpoint)
    attributions = endpoint.explainer(DISEASE, 0).explain(hidden[0], answer.explained)
    for row, at, outcome in by_outcome(predictions(answer, *hidden)):
        errors = [scale.standard_error for scale in outcome.explanation.scales]
        assert errors == attributions.standard_error[row, :, at, 0].tolist()
        assert min(errors) >= 0.0
    for exact in several.endpoints:
        for *_, outcome in by_outcome(predictions(answering(exact), *hidden)):
            assert {scale.standard_error for scale in outcome.explanation.scales} == {None}


def test_medians_and_bounds_are_where_the_drawn_curve_crosses_them(endpoint, hidden):
    for _, _, outcome in by_outcome(predictions(answering(endpoint), *hidden)):
        if not endpoint.endpoint.falls:
            assert outcome.median is outcome.restricted_mean is outcome.at_least is None
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


def test_the_restricted_mean_is_the_area_under_the_drawn_curve_up_to_the_horizon(endpoint, hidden):
    answer = answering(endpoint)
    for _, _, outcome in by_outcome(predictions(answer, *hidden)):
        if endpoint.endpoint.falls:
            found, curve = outcome.restricted_mean, outcome.curve
            assert found.horizon == answer.horizon
            grid = np.union1d(np.linspace(0.0, found.horizon, 20_001), curve.months)
            grid = grid[grid <= found.horizon]
            area = np.trapezoid(np.interp(grid, curve.months, curve.probability), grid)
            assert found.months == pytest.approx(area, abs=1e-6)
            assert 0.0 <= found.low <= found.months <= found.high <= found.horizon


def test_a_median_lies_between_where_the_ends_of_the_intervals_reach_one_half(endpoint, hidden):
    for _, _, outcome in by_outcome(predictions(answering(endpoint), *hidden)):
        median = outcome.median
        if median is not None and median.months is not None:
            assert median.low is not None
            assert median.low <= median.months
            assert median.high is None or median.months <= median.high


def test_many_are_answered_as_each_alone_bit_for_bit(endpoint, hidden):
    answer, (patients, X) = answering(endpoint), hidden
    together = answer.numbers(patients, X)
    for row, own in enumerate(patients.one_by_one()):
        alone = answer.numbers(own, X[[row]])
        np.testing.assert_array_equal(together.values[row], alone.values[0])
        np.testing.assert_array_equal(together.times[row], alone.times[0])
        np.testing.assert_array_equal(together.now[row], alone.now[0])


def test_scores_of_every_row_lead_to_its_first_answer(several, hidden):
    """What next tests are ranked by is what the model answers with the test's value."""
    patients, X = hidden
    for endpoint in several.endpoints:
        answer = answering(endpoint)
        numbers = answer.numbers(patients, X)
        expected = endpoint.model.predict(patients.X, strata(patients), answer.explained)[:, 0, 0]
        np.testing.assert_allclose(answer.first_answers(numbers.scores), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(answer.first_probabilities(patients.X), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(numbers.now, patients.mean(expected[:, None])[:, 0], rtol=0, atol=1e-12)
        apart = numbers.scores - numbers.shares.sum(axis=2)
        np.testing.assert_allclose(apart, np.broadcast_to(apart[0], apart.shape), rtol=0, atol=1e-9)


def test_a_model_without_scores_answers_by_itself(sampled, hidden):
    (endpoint,), (patients, X) = sampled.endpoints, hidden
    answer = answering(endpoint)
    numbers = answer.numbers(patients, X)
    assert numbers.scores is numbers.shares is None
    expected = endpoint.model.predict(patients.X, strata(patients), answer.explained)[:, 0, 0]
    np.testing.assert_array_equal(answer.first_probabilities(patients.X), expected)
    np.testing.assert_allclose(numbers.now, patients.mean(expected[:, None])[:, 0], rtol=0, atol=1e-12)


def test_what_falls_holds_at_a_time_and_anything_else_has_happened_by_it(several):
    survival, competing, response = several.endpoints
    assert survival.words("overall_survival", 12.0) == "probability of being alive at 12 months"
    assert competing.words("relapse", 12.0) == "probability of relapse or progression by 12 months"
    assert response.words("complete_response", None) == "probability of a complete response"


def test_units_of_an_explanation_name_scale_and_horizon(endpoint, hidden):
    answer = answering(endpoint)
    outcome = predictions(answer, *hidden)[0].outcomes[0]
    by = "" if answer.horizon is None else f" {endpoint.by} {answer.horizon:g} months"
    assert [scale.unit for scale in outcome.explanation.scales] == [
        endpoint.words(outcome.outcome, answer.horizon),
        f"{endpoint.endpoint.link.replace('_', ' ')}{by}",
    ]
