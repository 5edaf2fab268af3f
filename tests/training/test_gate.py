"""The gate: every way to fail it, and the edge at which it is passed."""

import numpy as np
import pytest

from features.censoring import Outcome
from training.evaluate import COX, EVERYONE, KAPLAN_MEIER, MODEL, Estimate, Evaluation, HeldOut
from training.gate import judge

NOBODY = HeldOut(np.empty(0), {}, np.empty(0, dtype=np.int64), Outcome(np.empty(0), np.empty(0, dtype=bool)))


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
    return Evaluation(by_group, {}, NOBODY)


GOOD = (0.70, 0.68, 0.15, 0.20)


def test_a_model_above_both_baselines_in_every_disease_passes():
    verdict = judge(evaluated(breast_cancer=GOOD, colorectal_cancer=GOOD))
    assert verdict.passed
    assert verdict.failures == ()


def test_below_the_cox_baseline_fails():
    verdict = judge(evaluated(breast_cancer=(0.66, 0.68, 0.15, 0.20)))
    assert not verdict.passed
    assert verdict.failures == ("breast_cancer: Uno's C 0.6600 is below the Cox baseline's 0.6800",)


def test_an_error_not_below_kaplan_meiers_fails():
    verdict = judge(evaluated(breast_cancer=(0.70, 0.68, 0.21, 0.20)))
    assert verdict.failures == ("breast_cancer: integrated Brier 0.2100 is not below Kaplan-Meier's 0.2000",)


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
    assert all(failure.startswith("colorectal_cancer: ") for failure in verdict.failures)


def test_everyone_together_is_not_judged():
    assert judge(evaluated(**{EVERYONE: (0.1, 0.9, 0.9, 0.1)}, breast_cancer=GOOD)).passed


@pytest.mark.parametrize("at", range(4))
def test_a_score_that_could_not_be_computed_fails(at):
    scores = list(GOOD)
    scores[at] = np.nan
    assert not judge(evaluated(breast_cancer=tuple(scores))).passed
