"""The report: a card that hides nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.endpoints import overall_survival
from tests.lib.fitting import PLAN
from tests.lib.patients import protocol
from training.fit import read_outcomes
from training.report import model_card


@pytest.fixture(scope="module")
def card(cohort, evaluation):
    return model_card(cohort, read_outcomes(cohort, protocol()), evaluation, protocol=protocol(), plan=PLAN)


def test_the_card_counts_patients_events_and_missing_values(card, cohort):
    assert card.patients == 400
    assert card.events == {"overall_survival": int(overall_survival(cohort).event.sum())}
    assert card.missing["Disease"] == 0.0
    nodes = np.isnan(cohort.values["positive_lymph_nodes"]).mean()
    assert card.missing["Positive lymph nodes at diagnosis"] == pytest.approx(nodes, abs=1e-4)
    assert len(card.missing) == len(protocol().predictors)


def test_the_card_states_its_performance_and_how_it_was_found(card, evaluation):
    assert card.performance["endpoints"] == evaluation.as_dict()
    assert card.performance["design"].startswith("3-fold cross-validation by patient")


def test_the_card_repeats_each_sources_selection_among_its_limitations(card):
    assert "made for tests" in card.limitations
    assert any("no other hospital" in limitation for limitation in card.limitations)


def test_only_a_wholly_real_cohort_carries_the_models_plain_name(cohort, evaluation):
    def named(*evidence):
        sources = tuple(replace(cohort.provenance[0], evidence=e) for e in evidence)
        made = replace(cohort, provenance=sources)
        return model_card(
            made, read_outcomes(made, protocol()), evaluation, protocol=protocol(), plan=PLAN
        ).name

    assert named("real", "real") == "salvage-relapse-survival"
    assert named("real", "synthetic") == named("synthetic") == "salvage-relapse-survival-synthetic"


def test_the_card_is_plain_json_without_patients(card, cohort):
    text = json.dumps(card.as_dict(), allow_nan=False)
    assert not any(f'"{patient}"' in text for patient in cohort.patients)
