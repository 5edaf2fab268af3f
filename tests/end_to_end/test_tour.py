"""What the tour shows of an answer, for every kind of endpoint."""

import copy
import io
import re
from typing import Any

import pytest
from rich.console import Console

import demo
from features.dictionary import load_dictionary
from tests.lib.patients import BREAST
from tests.serving.client import answer, client_of, deploy
from tests.serving.several import EXAMINED, SEVERAL, several_bundle, supporting

SCORE = {"uno_c": {"value": 0.654, "low": None, "high": None}}
REGISTERED = {"performance": {"overall_survival": {"all": {"model": SCORE, "cox": SCORE}}}}


def shown(answered: dict[str, Any], patient: dict[str, Any]) -> str:
    said = io.StringIO()
    demo._show(Console(file=said, width=200), REGISTERED, answered | {"request": {"patient": patient}})
    return said.getvalue()


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer for a patient of whom tests are missing."""
    home = deploy(tmp_path_factory.mktemp("tour"), several_bundle(), name=SEVERAL)
    with client_of(home) as client:
        return answer(client, BREAST)


def outcomes(answered: dict[str, Any]) -> list[dict[str, Any]]:
    return [o for endpoint in answered["prediction"]["endpoints"] for o in endpoint["outcomes"]]


def test_each_probability_is_shown_with_its_interval(answered):
    text = shown(answered, BREAST)
    for outcome in outcomes(answered):
        assert f"probability of {outcome['label']}" in text
        for at in outcome["probabilities"]:
            assert f"{at['probability']:.1%}" in text
            assert f"{at['low']:.1%} to {at['high']:.1%}" in text


def test_each_outcomes_strongest_reasons_are_shown_and_start_from_the_reference(answered):
    text = shown(answered, BREAST)
    for outcome in outcomes(answered):
        on_probability = outcome["explanation"]["scales"][0]
        assert f"{on_probability['reference']:.1%} is the {on_probability['reference_name']}" in text
        assert f"the reasons for {on_probability['prediction']:.1%} ({on_probability['unit']})" in text
        known = [c for c in on_probability["contributions"] if c["value"] is not None]
        strongest = max(known, key=lambda c: abs(c["contribution"]))
        assert f"{100 * strongest['contribution']:+.1f} points" in text


def reasons(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(r"[+-]\d+\.\d points *│", line)]


def test_no_reason_is_shown_for_what_is_not_known_but_what_it_adds_together(answered):
    text = shown(answered, BREAST)
    assert len(reasons(text)) >= len(outcomes(answered))
    for outcome in outcomes(answered):
        scale = outcome["explanation"]["scales"][0]
        unknown = [c["label"] for c in scale["contributions"] if c["value"] is None]
        assert unknown
        assert not any(label in line for label in (*unknown, "None") for line in reasons(text))
        (together,) = (g["contribution"] for g in scale["groups"] if g["group"] == "not_known")
        assert f"what is not known adds {100 * together:+.1f} points and widens the interval" in text


def test_a_category_that_no_training_patient_had_is_no_reason(answered):
    changed, label = copy.deepcopy(answered), load_dictionary()["tumour_grade"].label
    unseen = {"kind": "unseen_category", "predictor": "tumour_grade", "message": "nobody had it"}
    changed["prediction"]["warnings"].append(unseen)
    assert any(label in line for line in reasons(shown(answered, BREAST)))
    assert not any(label in line for line in reasons(shown(changed, BREAST)))


def test_what_to_find_out_next_and_how_typical_the_patient_is_are_shown(answered):
    text, prediction = shown(answered, BREAST), answered["prediction"]
    assert len(prediction["next_tests"]) == 2
    for test in prediction["next_tests"]:
        heading = {"history": "known already to you?", "test": "to be done"}[test["source"]]
        assert f"{heading} {test['words']}"[:150] in text
    assert f"how typical: {prediction['typical']['words']}" in text
    for warning in prediction["warnings"]:
        assert warning["message"] in text


def test_what_cannot_be_answered_is_shown_with_the_reason(tmp_path):
    bundle = supporting(several_bundle(), overall_survival=31.0, progression_free_survival=6.0)
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as client:
        text = shown(answer(client, EXAMINED), EXAMINED)
    assert text.count("follow-up in this disease supports 31 months") == 2
    assert "Progression-free survival: not followed long enough in this disease" in text
    assert "what to find out next: nothing" in text
