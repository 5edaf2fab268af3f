"""Every kind of endpoint answers all that training asks of one."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.endpoints import ENDPOINTS, CompetingOutcome
from models.answer.fitted_endpoint import NO_TIME
from tests.lib.fitting import PLAN
from tests.training.samples import TIMES, competing_sample, response_sample, survival_sample
from training.display import METRICS
from training.kinds.registry import KINDS, kind_of
from training.sample_size import for_competing, for_response, for_survival
from training.scoring import Scale

SAMPLES = {
    "overall_survival": survival_sample,
    "relapse_and_non_relapse_mortality": competing_sample,
    "response": response_sample,
}


@pytest.fixture(params=SAMPLES)
def sample(request):
    """An endpoint's kind, its columns, diseases and outcome, and the times of its predictions."""
    kind = kind_of(ENDPOINTS[request.param])
    X, strata, outcome, *_ = SAMPLES[request.param]()
    return kind, X, strata, outcome, TIMES if kind.endpoint.timed else NO_TIME


def test_every_endpoint_has_a_kind_and_every_kind_an_endpoint():
    assert {endpoint.kind for endpoint in ENDPOINTS.values()} == set(KINDS)
    assert all(kind_of(endpoint).endpoint is endpoint for endpoint in ENDPOINTS.values())


def test_one_baseline_knows_the_disease_alone_and_the_others_are_regressions(sample):
    kind, X, strata, outcome, times = sample
    answers = [fit(X, strata, outcome).probabilities(X, strata, times) for fit in kind.baselines.values()]
    alone, *regressions = answers
    assert all(answer.shape == alone.shape for answer in answers)
    assert all(len(np.unique(alone[strata == s], axis=0)) == 1 for s in (0, 1))
    assert all(len(np.unique(answer, axis=0)) > 100 for answer in regressions)


def test_what_the_gate_compares_is_scored_for_the_model_and_for_the_baseline(sample):
    kind, X, strata, outcome, _ = sample
    times = np.array([6.0, 24.0]) if kind.endpoint.timed else NO_TIME
    scale = Scale(times, (24.0,), samples=5, seed=1)
    scores = {
        name: kind.score(fit(X, strata, outcome).probabilities(X, strata, times), outcome, scale)
        for name, fit in kind.baselines.items()
    }
    by_group = {"all": scores | {"model": scores[list(scores)[1]]}}
    required = list(kind.requirements(by_group))
    assert {r.higher for r in required} == {True, False}
    for requirement in required:
        compared = by_group[requirement.group]
        for name in ("model", requirement.baseline):
            assert compared[name][requirement.metric].value is not None


def test_times_have_an_event_for_whoever_had_one(sample):
    kind, _, _, outcome, _ = sample
    times = kind.times(outcome)
    assert len(times) == len(outcome)
    assert 0 < times.event.sum() < len(outcome)
    assert (times.duration > 0.0).all()


def test_settings_are_searched_for_survival_alone(sample):
    kind, X, strata, outcome, _ = sample
    few = np.arange(240)
    cross_fit, tuned = kind.fit(X[few], strata[few], outcome.take(few), replace(PLAN, trials=2))
    held_out = cross_fit.held_out.probabilities(few, np.array([12.0]))
    assert held_out.shape[0] == 240
    assert (tuned is not None) is (kind.endpoint.name == "overall_survival")


def test_only_survival_has_lower_bounds_risk_groups_and_a_median():
    for name in ("response", "relapse_and_non_relapse_mortality"):
        kind = kind_of(ENDPOINTS[name])
        assert kind.bounds(None, None, None, {}) is None
        assert kind.risk_groups(None, None, None) == ()
        assert not kind.has_median


def test_sample_size_is_reported_outcome_by_outcome():
    def sizes(name, outcome):
        return kind_of(ENDPOINTS[name]).sample_sizes(outcome, 3, horizon=12.0)

    both, outcome = response_sample()[2], survival_sample()[2]
    expected = {name: for_response(part, 3) for name, part in zip(both.names, both.parts, strict=True)}
    assert sizes("response", both) == expected
    assert sizes("overall_survival", outcome) == {"overall_survival": for_survival(outcome, 3, 12.0)}
    causes = CompetingOutcome(outcome.duration, outcome.event.astype(int))
    assert sizes("relapse_and_non_relapse_mortality", causes) == for_competing(causes, 3, 12.0)


def test_every_metric_has_a_row_in_the_page_of_metrics_and_a_name_in_print(sample):
    kind, X, strata, outcome, _ = sample
    times = np.array([6.0, 24.0]) if kind.endpoint.timed else NO_TIME
    fitted = next(iter(kind.baselines.values()))(X, strata, outcome)
    scale = Scale(times, (24.0,), samples=5, seed=1)
    scores = kind.score(fitted.probabilities(X, strata, times), outcome, scale)
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in scores:
        metric = name.rpartition(".")[2].removesuffix("_24")
        assert re.search(
            rf"^\| `{metric}` \| .*(all|{kind.endpoint.kind.replace('_', ' ')})", page, re.MULTILINE
        )
        assert metric in METRICS
