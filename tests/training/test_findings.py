"""Findings: the card says in words where the model came down to a ridge-penalised regression."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from training.findings import findings


@dataclass(frozen=True)
class Chosen:
    """A model of which only what its fit chose is asked."""

    hyperparameters: dict[str, float]
    outcomes: tuple[str, ...] = ("overall_survival",)
    penalties: np.ndarray = field(default_factory=lambda: np.array([12.345]))


def told(model, name="overall_survival", estimators=None):
    asked = SimpleNamespace(estimators=estimators or {})
    return findings({name: SimpleNamespace(model=model)}, asked)


def test_a_model_without_weight_on_trees_is_called_a_ridge_penalised_cox_model():
    (sentence,) = told(Chosen({"weight_ridge": 1.0, "weight_started": 0.0, "weight_free": 0.0}))
    assert sentence.startswith("Overall survival: trees gained no more held-out likelihood than chance would")
    assert "ridge-penalised Cox model (penalty 12.3 events) and nothing else" in sentence


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.999])
def test_an_ensemble_needs_no_such_word(weight):
    assert told(Chosen({"weight_ridge": weight})) == ()


@pytest.mark.parametrize("estimator", ["cox", "xgboost_aft"])
def test_an_estimator_that_never_tried_trees_found_nothing(estimator):
    assert told(Chosen({"weight_ridge": 1.0}), estimators={"overall_survival": estimator}) == ()


def test_of_competing_causes_only_the_one_is_named():
    causes = ("relapse", "non_relapse_mortality")
    chosen = {"relapse_weight_ridge": 0.3, "non_relapse_mortality_weight_ridge": 1.0}
    made = Chosen(chosen, causes, np.array([3.0, 40.0]))
    (sentence,) = told(made, "relapse_and_non_relapse_mortality")
    assert "Relapse and non-relapse mortality, non relapse mortality: trees" in sentence
    assert "penalty 40 events" in sentence


def test_a_response_has_no_cox_model():
    assert told(Chosen({"weight_ridge": 1.0}), "response") == ()


def test_the_fitted_bundles_card_says_what_its_fit_found(bundle):
    endpoint = bundle.endpoints[0]
    alone = endpoint.model.hyperparameters["weight_ridge"] == 1.0
    assert ("and nothing else" in bundle.card.method) == alone
