"""A model of several endpoints: each is answered in full, and the patient's next tests are ranked."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features.dictionary import load_dictionary
from features.endpoints import COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS
from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from serving.audit.replay import replay
from serving.audit.store import make_store
from tests.lib.patients import BREAST
from tests.serving.client import (
    PREDICTIONS,
    TestClient,
    answer,
    ask,
    assert_problem,
    client_of,
    deploy,
    named,
    prediction_bytes,
)
from tests.serving.several import (
    ENDPOINTS,
    EXAMINED,
    SEVERAL,
    TIMED,
    several_bundle,
    study,
    supporting,
)

# the endpoint                        its kind and each outcome's name, words and second scale
SAID = {
    "overall_survival": (
        "survival",
        [("overall_survival", "being alive at 24 months", LOG_CUMULATIVE_HAZARD)],
    ),
    "progression_free_survival": (
        "survival",
        [
            (
                "progression_free_survival",
                "being alive without progression at 24 months",
                LOG_CUMULATIVE_HAZARD,
            )
        ],
    ),
    "relapse_and_non_relapse_mortality": (
        "competing_risks",
        [
            ("relapse", "relapse or progression by 24 months", COMPLEMENTARY_LOG_LOG),
            ("non_relapse_mortality", "death without relapse by 24 months", COMPLEMENTARY_LOG_LOG),
        ],
    ),
    "response": (
        "response",
        [
            ("complete_response", "a complete response", LOG_ODDS),
            ("overall_response", "a complete or partial response", LOG_ODDS),
            ("disease_control", "a response or stable disease", LOG_ODDS),
        ],
    ),
}
PATIENTS = {
    "examined": EXAMINED,
    "not examined": BREAST,
    "colorectal": {"disease": "colorectal_cancer", "age": 66.0, "albumin": 33.0},
    "only the disease known": {"disease": "breast_cancer"},
}
each_patient = pytest.mark.parametrize("patient", PATIENTS.values(), ids=PATIENTS)


@pytest.fixture(scope="module")
def several(several_home: Path) -> Iterator[TestClient]:
    """The application over a model of several endpoints."""
    with client_of(several_home) as running:
        yield running


@pytest.fixture(scope="module")
def several_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(tmp_path_factory.mktemp("several"), several_bundle(), name=SEVERAL)


def outcomes(answered: dict[str, Any]) -> list[dict[str, Any]]:
    return [o for endpoint in answered["prediction"]["endpoints"] for o in endpoint["outcomes"]]


def by_endpoint(answered: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {endpoint["endpoint"]: endpoint for endpoint in answered["prediction"]["endpoints"]}


def test_the_model_lists_its_endpoints_and_how_far_each_reaches(several):
    (listed,) = several.get("/v1/models").json()["models"]
    shown = several.get(f"/v1/models/{SEVERAL}").json()
    assert listed["endpoints"] == shown["protocol"]["endpoints"] == list(ENDPOINTS)
    assert list(shown["supported_months"]) == list(ENDPOINTS)
    assert shown["supported_months"]["response"] == {}
    for name in TIMED:
        months = shown["supported_months"][name]
        assert set(months) == set(study().diseases)
        assert all(limit > 0 for limit in months.values())
    assert list(shown["card"]["events"]) == [o[0] for _, said in SAID.values() for o in said]


@each_patient
def test_every_endpoint_is_answered_in_the_protocols_order_with_each_outcome(several, patient):
    found = answer(several, patient)["prediction"]["endpoints"]
    assert [endpoint["endpoint"] for endpoint in found] == list(ENDPOINTS)
    for endpoint in found:
        kind, said = SAID[endpoint["endpoint"]]
        assert (endpoint["kind"], len(endpoint["title"]) > 0) == (kind, True)
        assert [o["outcome"] for o in endpoint["outcomes"]] == [name for name, _, _ in said]


@each_patient
def test_every_outcome_has_its_probability_within_an_interval_at_each_horizon(several, patient):
    for name, endpoint in by_endpoint(answer(several, patient)).items():
        horizons = [12, 24, 36, 60] if name in TIMED else [None]
        for outcome in endpoint["outcomes"]:
            assert [at["horizon"] for at in outcome["probabilities"]] == horizons
        for at in (at for outcome in endpoint["outcomes"] for at in outcome["probabilities"]):
            if at["reason"] is None:
                assert 0 <= at["low"] <= at["probability"] <= at["high"] <= 1
            else:
                assert at["low"] is at["probability"] is at["high"] is None


@each_patient
def test_survival_starts_at_1_and_never_rises_and_an_incidence_starts_at_0_and_never_falls(several, patient):
    found = by_endpoint(answer(several, patient))
    for endpoint in (found[name] for name in TIMED):
        for outcome in endpoint["outcomes"]:
            curve = outcome["curve"]["probability"]
            down = endpoint["kind"] == "survival"
            assert curve[0] == (1 if down else 0)
            assert all((b <= a) if down else (a <= b) for a, b in itertools.pairwise(curve))
            assert all(0 <= p <= 1 for p in curve)
            assert (outcome["median"] is not None) == down


@each_patient
def test_a_wider_response_is_never_less_likely_and_has_no_course(several, patient):
    found = by_endpoint(answer(several, patient))["response"]["outcomes"]
    assert all(outcome["curve"] is outcome["median"] is None for outcome in found)
    probabilities = [at["probability"] for outcome in found for at in outcome["probabilities"]]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities)


@each_patient
def test_the_ways_to_fail_never_exceed_one_together(several, patient):
    relapse, death = by_endpoint(answer(several, patient))["relapse_and_non_relapse_mortality"]["outcomes"]
    assert relapse["curve"]["months"] == death["curve"]["months"]
    both = zip(relapse["curve"]["probability"], death["curve"]["probability"], strict=True)
    assert all(r + d <= 1 + 1e-12 for r, d in both)


@each_patient
@pytest.mark.parametrize("horizon", [12, 24, 36])
def test_every_outcomes_contributions_add_up_on_both_scales_by_predictor_and_by_group(
    several, patient, horizon
):
    supported = several.get(f"/v1/models/{SEVERAL}").json()["supported_months"]
    for name, endpoint in by_endpoint(answer(several, patient, horizon=horizon)).items():
        explained = explained_at(horizon, supported[name].get(patient["disease"]))
        for outcome in endpoint["outcomes"]:
            assert outcome["explanation"]["horizon"] == explained
            (stated,) = (at["probability"] for at in outcome["probabilities"] if at["horizon"] == explained)
            on_probability, on_link = outcome["explanation"]["scales"]
            assert on_probability["prediction"] == pytest.approx(stated, abs=1e-9)
            assert_adds_up(on_probability)
            assert_adds_up(on_link)


def explained_at(horizon: float, limit: float | None) -> float | None:
    """Return the horizon asked for where it is supported, else the protocol's own or the last supported."""
    if limit is None:
        return None
    reached = [h for h in study().horizons if h <= limit]
    return horizon if horizon in reached else min(study().explained_horizon, reached[-1])


def assert_adds_up(scale: dict[str, Any]) -> None:
    """Judge one scale: reference, contributions and coherence are the prediction, by predictor and group."""
    (disease,) = (part["value"] for part in scale["contributions"] if part["predictor"] == "disease")
    meant = [name for name in study().predictors if load_dictionary()[name].applies(disease)]
    assert [part["predictor"] for part in scale["contributions"]] == meant
    grouped = dict.fromkeys((group["group"] for group in scale["groups"]), 0.0)
    for part in scale["contributions"]:
        grouped["not_known" if part["value"] is None else part["group"]] += part["contribution"]
    assert {g["group"]: g["contribution"] for g in scale["groups"]} == pytest.approx(grouped, abs=1e-9)
    total = scale["reference"] + sum(grouped.values()) + scale["coherence"]
    assert total == pytest.approx(scale["prediction"], abs=1e-6)


def test_every_outcome_is_explained_in_words_on_its_own_scales(several):
    for name, endpoint in by_endpoint(answer(several)).items():
        for outcome, (_, words, link) in zip(endpoint["outcomes"], SAID[name][1], strict=True):
            on_probability, on_link = outcome["explanation"]["scales"]
            assert words.startswith(outcome["label"])
            assert (on_probability["scale"], on_probability["unit"]) == (
                "probability",
                f"probability of {words}",
            )
            assert on_link["scale"] == link


def test_more_albumin_lengthens_survival_and_makes_responses_likelier(several):
    low, high = (by_endpoint(answer(several, EXAMINED | {"albumin": value})) for value in (28.0, 46.0))
    for name in ("overall_survival", "progression_free_survival", "response"):
        before, after = (said[name]["outcomes"][-1]["probabilities"] for said in (low, high))
        assert after[0]["probability"] > before[0]["probability"] + 0.05


def test_the_horizon_changes_explanations_of_what_has_time_and_next_tests_and_nothing_else(several):
    early, late = (answer(several, horizon=horizon) for horizon in (12, 36))
    for name in TIMED:
        both = (by_endpoint(said)[name]["outcomes"] for said in (early, late))
        for sooner, later in zip(*both, strict=True):
            assert sooner.pop("explanation") != later.pop("explanation")
            means = sooner.pop("restricted_mean"), later.pop("restricted_mean")
            assert (None in means) == (name == "relapse_and_non_relapse_mortality")
            assert means[0] is means[1] is None or means[0]["months"] < means[1]["months"]
    assert early["prediction"].pop("next_tests") != late["prediction"].pop("next_tests")
    assert early["prediction"] == late["prediction"]


# what to find out next


def test_missing_tests_are_ranked_by_how_much_they_would_move_the_leading_answer(several):
    tests = answer(several)["prediction"]["next_tests"]
    assert [test["predictor"] for test in tests] == ["albumin", "site_liver"]
    assert {test["source"] for test in tests} == {"test"}
    changes = [test["expected_change"] for test in tests]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0.02 > changes[1] >= 0
    for test in tests:
        assert 0 <= test["low"] <= test["high"] <= 1


def test_a_next_test_says_what_it_would_move_in_words(several):
    given = answer(several, horizon=12)
    now = by_endpoint(given)["overall_survival"]["outcomes"][0]["probabilities"][0]["probability"]
    for test in given["prediction"]["next_tests"]:
        assert test["words"].startswith(f"{test['label']}: knowing it would ")
        assert f"the probability of being alive at 12 months, now {now:.0%}" in test["words"]
    moves = given["prediction"]["next_tests"][0]
    assert f"between {moves['low']:.0%} and {moves['high']:.0%}" in moves["words"]


def test_what_is_known_is_no_next_test(several):
    assert answer(several, EXAMINED)["prediction"]["next_tests"] == []
    known_albumin = answer(several, BREAST | {"albumin": 41.0})["prediction"]["next_tests"]
    assert [test["predictor"] for test in known_albumin] == ["site_liver"]


def test_what_is_not_known_is_also_warned_of_in_the_order_of_the_ranking(several):
    given = answer(several)["prediction"]
    (message,) = (w["message"] for w in given["warnings"] if w["kind"] == "not_known")
    assert message.endswith("; ".join(test["label"] for test in given["next_tests"]))


# endpoints that reach less far


@pytest.fixture
def short(tmp_path: Path) -> Iterator[TestClient]:
    """The application over a model whose progression-free survival is followed for 30 months only."""
    bundle = supporting(several_bundle(), progression_free_survival=30.0)
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as running:
        yield running


def test_an_endpoint_answers_as_far_as_its_own_follow_up(short):
    given = by_endpoint(answer(short, horizon=36))
    shorter = given["progression_free_survival"]["outcomes"][0]
    assert [at["probability"] is None for at in shorter["probabilities"]] == [False, False, True, True]
    assert {at["reason"] for at in shorter["probabilities"][2:]} == {
        "follow-up in this disease supports 30 months"
    }
    assert shorter["curve"]["months"][-1] == 30
    assert shorter["explanation"]["horizon"] == 24
    assert given["overall_survival"]["outcomes"][0]["explanation"]["horizon"] == 36


@pytest.mark.parametrize("silent", TIMED)
def test_an_endpoint_not_followed_long_enough_is_named_and_the_others_answer(tmp_path, silent):
    bundle = supporting(several_bundle(), **{silent: 6.0})
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as client:
        given = answer(client)
    answered = [name for name in ENDPOINTS if name != silent]
    assert list(by_endpoint(given)) == answered
    (warning,) = (w for w in given["prediction"]["warnings"] if w["kind"] == "not_answered")
    title = several_bundle().endpoint(silent).endpoint.title
    assert warning["predictor"] is None
    assert warning["message"] == f"{title}: not followed long enough in this disease"
    leading = by_endpoint(given)[answered[0]]["outcomes"][0]["label"]
    assert all(f"the probability of {leading}" in t["words"] for t in given["prediction"]["next_tests"])


def test_what_has_no_time_answers_where_nothing_else_does(tmp_path):
    bundle = supporting(several_bundle(), **dict.fromkeys(TIMED, 6.0))
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as client:
        given = answer(client)
    assert list(by_endpoint(given)) == ["response"]
    warned = [w for w in given["prediction"]["warnings"] if w["kind"] == "not_answered"]
    assert len(warned) == len(TIMED)
    for test in given["prediction"]["next_tests"]:
        assert "the probability of a complete response, now" in test["words"]


def with_time_only(bundle: ModelBundle) -> ModelBundle:
    endpoints = tuple(bundle.endpoint(name) for name in TIMED)
    return replace(bundle, endpoints=endpoints, protocol=replace(bundle.protocol, endpoints=TIMED))


def test_a_disease_that_no_endpoint_supports_is_refused(tmp_path):
    bundle = supporting(with_time_only(several_bundle()), **dict.fromkeys(TIMED, 6.0))
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as client:
        document = assert_problem(ask(client), 422, "invalid-request")
    assert named(document) == {"disease": "was not followed long enough to answer"}


def test_a_horizon_that_no_endpoint_supports_is_refused_with_those_that_one_does(tmp_path):
    limits = dict.fromkeys(TIMED, 30.0) | {"progression_free_survival": 40.0}
    bundle = supporting(several_bundle(), **limits)
    with client_of(deploy(tmp_path, bundle, name=SEVERAL)) as client:
        assert ask(client, horizon=36).status_code == 200
        document = assert_problem(ask(client, horizon=60), 422, "invalid-request")
    assert document["problems"][0]["remedy"] == "expected one of 12, 24, 36 months"


# the record


@each_patient
@pytest.mark.parametrize("horizon", [None, 12])
def test_an_answer_of_several_endpoints_is_read_again_and_replays_bit_for_bit(
    several, several_home, patient, horizon
):
    given = ask(several, patient, horizon=horizon)
    entry_id = given.json()["audit"]["id"]
    again = several.get(f"{PREDICTIONS}/{entry_id}")
    assert prediction_bytes(again.content) == prediction_bytes(given.content)
    store = make_store(several_home / "audit.db")
    try:
        assert replay(store.get(entry_id), shelf=Shelf(several_home / "shelf")).same
    finally:
        store.close()


def test_a_file_of_any_endpoint_that_was_changed_answers_nothing(tmp_path):
    home = deploy(tmp_path, several_bundle(), name=SEVERAL)
    folder, whole = home / "shelf" / SEVERAL / "1", tmp_path / "whole"
    folder.rename(whole)
    with client_of(home) as client:
        for name in ENDPOINTS:
            shutil.copytree(whole, folder)
            own = [file for file in sorted(folder.iterdir()) if file.name.startswith(f"{name}.")]
            assert len(own) >= 3
            own[0].write_bytes(own[0].read_bytes() + b" ")
            refused = assert_problem(ask(client), 503, "bundle-refused")
            assert f"{own[0].name} was changed" in refused["detail"]
            shutil.rmtree(folder)
        whole.rename(folder)
        assert ask(client).status_code == 200
