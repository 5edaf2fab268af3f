"""The gate: every way to fail it, and the edge at which it is passed."""

import numpy as np
import pytest

from features.endpoints import ENDPOINTS
from training.baselines.competing_risks import AALEN_JOHANSEN
from training.baselines.response import LOGISTIC, PREVALENCE
from training.baselines.survival import COX, KAPLAN_MEIER
from training.evaluate import EndpointEvaluation, Evaluation, HeldOut
from training.gate import judge
from training.scoring import EVERYONE, MODEL, Estimate


def one(endpoint, by_group):
    """Build an evaluation of one endpoint from its metrics."""
    nobody = HeldOut(ENDPOINTS[endpoint], np.empty(0), {}, np.empty(0, dtype=np.int64), None)
    return Evaluation({endpoint: EndpointEvaluation(by_group, {}, nobody)})


def evaluated(**groups):
    """Build an evaluation from (model's C, Cox's C, model's Brier, Kaplan-Meier's Brier) by group."""
    by_group = {
        name: {
            MODEL: {"uno_c": Estimate(c), "integrated_brier": Estimate(brier)},
            COX: {"uno_c": Estimate(cox), "integrated_brier": Estimate(0.5)},
            KAPLAN_MEIER: {"uno_c": Estimate(0.5), "integrated_brier": Estimate(kaplan_meier)},
        }
        for name, (c, cox, brier, kaplan_meier) in groups.items()
    }
    return one("overall_survival", {EVERYONE: next(iter(by_group.values()))} | by_group)


GOOD = (0.70, 0.68, 0.15, 0.20)


def test_a_model_above_both_baselines_in_every_disease_passes():
    verdict = judge(evaluated(breast_cancer=GOOD, colorectal_cancer=GOOD))
    assert verdict.passed
    assert verdict.failures == ()


def test_below_the_cox_baseline_fails():
    verdict = judge(evaluated(breast_cancer=(0.66, 0.68, 0.15, 0.20)))
    assert not verdict.passed
    assert verdict.failures == ("overall_survival, breast_cancer: uno_c 0.6600 is below cox's 0.6800",)


def test_an_error_not_below_kaplan_meiers_fails():
    verdict = judge(evaluated(breast_cancer=(0.70, 0.68, 0.21, 0.20)))
    assert verdict.failures == (
        "overall_survival, breast_cancer: integrated_brier 0.2100 is not below kaplan_meier's 0.2000",
    )


@pytest.mark.parametrize(
    ("scores", "passed"),
    [((0.68, 0.68, 0.15, 0.20), True), ((0.70, 0.68, 0.20, 0.20), False)],
)
def test_the_cox_baseline_may_be_equalled_and_kaplan_meier_may_not(scores, passed):
    assert judge(evaluated(breast_cancer=scores)).passed is passed


def test_one_disease_cannot_hide_behind_another_or_behind_everyone():
    verdict = judge(
        evaluated(**{EVERYONE: GOOD}, breast_cancer=GOOD, colorectal_cancer=(0.60, 0.68, 0.21, 0.20))
    )
    assert len(verdict.failures) == 2
    assert all(failure.startswith("overall_survival, colorectal_cancer: ") for failure in verdict.failures)


def test_everyone_together_is_not_judged_beside_diseases():
    assert judge(evaluated(**{EVERYONE: (0.1, 0.9, 0.9, 0.1)}, breast_cancer=GOOD)).passed


@pytest.mark.parametrize("at", range(4))
def test_a_score_that_could_not_be_computed_fails(at):
    scores = list(GOOD)
    scores[at] = np.nan
    assert not judge(evaluated(breast_cancer=tuple(scores))).passed


def test_where_no_disease_has_enough_events_everyone_is_judged():
    assert not judge(evaluated(**{EVERYONE: (0.1, 0.9, 0.9, 0.1)})).passed


def test_what_cannot_be_compared_breaks_no_rule_unless_nothing_can():
    few = Estimate.missing("3 events by 10 months, fewer than 10")
    group = {
        MODEL: {"uno_c": few, "integrated_brier": Estimate(0.15)},
        COX: {"uno_c": few, "integrated_brier": Estimate(0.5)},
        KAPLAN_MEIER: {"uno_c": few, "integrated_brier": Estimate(0.2)},
    }
    assert judge(one("overall_survival", {EVERYONE: group})).passed
    nothing = {name: dict.fromkeys(scores, few) for name, scores in group.items()}
    assert judge(one("overall_survival", {EVERYONE: nothing})).failures == (
        "overall_survival, no figure can be compared with a baseline's",
    )


# --- response and competing risks ------------------------------------------------------------------------


def pair(outcome, higher, lower):
    """Build one model's two metrics of an outcome."""
    return {f"{outcome}.{name}": Estimate(value) for name, value in (*higher.items(), *lower.items())}


def responded(auc, logistic, brier, prevalence):
    return one(
        "response",
        {
            EVERYONE: {
                MODEL: pair("complete_response", {"auc": auc}, {"brier": brier}),
                LOGISTIC: pair("complete_response", {"auc": logistic}, {"brier": 0.2}),
                PREVALENCE: pair("complete_response", {"auc": 0.5}, {"brier": prevalence}),
            }
        },
    )


def test_a_response_model_reaches_the_logistic_regression_and_beats_the_share():
    assert judge(responded(0.7, 0.7, 0.10, 0.11)).passed
    assert judge(responded(0.69, 0.7, 0.11, 0.11)).failures == (
        "response, complete_response: complete_response.auc 0.6900 is below logistic's 0.7000",
        "response, complete_response: complete_response.brier 0.1100 is not below prevalence's 0.1100",
    )


def test_each_competing_cause_reaches_its_cox_regression_and_beats_aalen_johansen():
    causes = tuple(ENDPOINTS["relapse_and_non_relapse_mortality"].labels)

    def scores(c, brier):
        return {
            k: v for cause in causes for k, v in pair(cause, {"c": c}, {"integrated_brier": brier}).items()
        }

    def judged(c, brier):
        by_model = {MODEL: scores(c, brier), COX: scores(0.6, 0.2), AALEN_JOHANSEN: scores(0.5, 0.2)}
        return judge(one("relapse_and_non_relapse_mortality", {EVERYONE: by_model}))

    assert judged(0.6, 0.19).passed
    assert len(judged(0.59, 0.19).failures) == len(judged(0.6, 0.2).failures) == len(causes)
