"""Simulated cohorts: they reproduce the trials, agree with their own truth, and say they are synthetic."""

import copy
import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from features.censoring import Outcome
from features.cohort import Cohort
from features.endpoints import overall_survival, progression_free_survival
from features.errors import InvalidRequest, NotFound
from features.scores import compute, load_score, score_names
from features.simulation import arms as arms_module
from features.simulation.arms import ArmCalibration
from features.simulation.check import ArmCheck, check_simulation
from features.simulation.estimates import hazard_ratio, median, survival_at
from features.simulation.evidence import TrialEvidence, load_evidence, read_evidence, read_yaml
from features.simulation.missing import leave_out
from features.simulation.prognosis import terms
from features.simulation.simulate import project_arms, simulate
from features.simulation.truth import Truth

DISEASES = (
    "hodgkin_lymphoma", "dlbcl", "other_nhl", "aml", "all_leukaemia", "colorectal_cancer", "breast_cancer",
    "nsclc", "sclc", "ovarian_cancer", "glioblastoma", "other_cns_tumour", "germ_cell_tumour",
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated():
    return simulate(13_000, seed=4)


@pytest.fixture(scope="module")
def checks() -> list[ArmCheck]:
    return check_simulation(patients_per_arm=5_000, seed=11)


# -- the evidence


def test_the_evidence_holds_no_address_and_names_its_sources():
    evidence = load_evidence()
    assert "://" not in json.dumps(read_yaml("evidence.yaml"))
    assert all(arm.source and arm.figures for arm in evidence.arms.values())


def test_an_arm_is_calibrated_on_checked_figures_only():
    arm = load_evidence().arm("recourse_ftd_tpi")
    assert [f.name for f in arm.figures if not f.checked] == ["orr", "median_pfs", "os_12", "grade3"]
    assert arm.points("os") == ((7.1, 0.5),)
    assert set(project_arms().arm("recourse_ftd_tpi").uncalibrated) == {"pfs", "orr", "cr", "grade3", "trm"}


def test_every_arm_has_a_population_and_a_known_regimen():
    populations = read_yaml("populations.yaml")["settings"]
    for arm in load_evidence().arms.values():
        assert arm.setting in populations[arm.disease]


def test_every_effect_says_whether_it_was_published_or_invented():
    declared = [*terms()["toxicity"]]
    for group in ("diseases", "modifiers"):
        for listed in terms()[group].values():
            declared += listed
    assert {term["basis"] for term in declared} == {"published", "derived", "shrunk", "invented"}
    assert all(term.get("source") for term in declared if term["basis"] != "invented")


# -- reproducing the trials


def test_nine_arms_in_ten_reproduce_their_checked_figures(checks):
    assert np.mean([check.within for check in checks]) >= 0.9
    assert {check.disease for check in checks if check.within} == set(DISEASES)


def test_the_check_covers_every_kind_of_figure(checks):
    names = {figure.figure.split("_")[0] for check in checks for figure in check.figures}
    assert names == {"orr", "cr", "median", "pfs", "os", "hazard", "grade3", "trm"}
    json.dumps([check.as_dict() for check in checks])


def _altered(name: str, figure: str, value: float) -> TrialEvidence:
    declared = copy.deepcopy(read_yaml("evidence.yaml"))
    declared["arms"] = {name: declared["arms"][name]}
    declared["comparisons"] = []
    declared["arms"][name]["figures"][figure]["value"] = value
    return read_evidence(declared)


@pytest.mark.parametrize(("figure", "value"), [("orr", 60.0), ("median_os", 14.0), ("grade3", 50.0)])
def test_an_arm_whose_published_figure_changes_fails_the_check(figure, value):
    """The arm stays calibrated to the true figure; the evidence it is held against does not."""
    name = "sunlight_bevacizumab"
    calibration = ArmCalibration(_altered(name, figure, value))
    calibration._arms[name] = project_arms().arm(name)
    (check,) = check_simulation(patients_per_arm=4_000, seed=2, calibration=calibration)
    assert [missed.figure for missed in check.missed] == [figure]


def test_an_arm_is_calibrated_again_when_its_figure_changes():
    calibration = ArmCalibration(_altered("sunlight_bevacizumab", "median_os", 14.0))
    (check,) = check_simulation(patients_per_arm=4_000, seed=2, calibration=calibration)
    assert check.within


def test_contradictory_figures_fail_the_check():
    evidence = _altered("zuma1_axi_cel", "os_60", 75.0)  # more alive at 60 months than half at 25.8
    (check,) = check_simulation(patients_per_arm=4_000, seed=2, calibration=ArmCalibration(evidence))
    assert not check.within


def test_calibration_does_not_depend_on_chance():
    arm, evidence = load_evidence().arm("tower_blinatumomab"), load_evidence()
    first, second = arms_module.calibrate(arm, evidence), arms_module.calibrate(arm, evidence)
    assert np.array_equal(first.death, second.death)
    assert first.response_intercept == second.response_intercept


# -- the cohort


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        simulate(300, seed=seed).cohort.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    assert Cohort.read(tmp_path / "a").fingerprint() == simulate(300, seed=7).cohort.fingerprint()


def test_every_disease_is_present_and_says_that_it_is_synthetic(simulated):
    cohort = simulated.cohort
    assert set(cohort.text("disease")) == set(DISEASES)
    assert cohort.evidence == "synthetic"
    assert "no patient is real" in cohort.provenance[0].source


def test_a_simulated_table_is_accepted_by_the_validator(simulated):
    cohort = simulated.cohort.take(np.arange(500))
    validated = Cohort.from_frame(cohort.to_frame(), dictionary=cohort.dictionary)
    assert validated.fingerprint() == cohort.fingerprint()


@settings(max_examples=12)
@given(
    patients=st.integers(1, 60),
    seed=st.integers(0, 2**40),
    diseases=st.none() | st.lists(st.sampled_from(DISEASES), min_size=1, max_size=3).map(tuple),
)
def test_any_simulated_cohort_validates(patients, seed, diseases):
    cohort = simulate(patients, seed=seed, diseases=diseases).cohort
    validated = Cohort.from_frame(cohort.to_frame(), dictionary=cohort.dictionary)
    assert validated.fingerprint() == cohort.fingerprint()
    assert diseases is None or set(cohort.text("disease")) <= set(diseases)


def test_progression_comes_before_death_and_follow_up_ends_both(simulated):
    values = simulated.cohort.values
    event, followed = values["months_progression_free"], values["months_followed"]
    assert (event > 0).all()
    assert (event <= followed).all()
    first = simulated.cohort.text("first_event")
    died_first = np.array([kind == "death" for kind in first])
    assert (event[died_first] == followed[died_first]).all()
    assert (values["died"][died_first] == 1.0).all()
    ended = values["progressed_or_died"] == 1.0
    assert (ended == np.array([kind != "none" for kind in first])).all()
    assert (ended[values["died"] == 1.0]).all()
    assert np.isnan(values["cause_of_death"][values["died"] == 0.0]).all()
    by_treatment = values["treatment_related_death"] == 1.0
    assert (died_first[by_treatment]).all()
    assert followed[by_treatment].max() <= 12.0


def test_response_agrees_with_what_follows(simulated):
    values, response = simulated.cohort.values, np.array(simulated.cohort.text("response"))
    event = values["months_progression_free"]
    observed = values["progressed_or_died"] == 1.0
    assert (event[(response == "progressive_disease") & observed] <= 3.0).all()
    assert (values["months_followed"][(response == "not_evaluable") & (values["died"] == 1.0)] <= 1.5).all()
    long = {kind: np.median(event[response == kind]) for kind in ("complete_response", "stable_disease")}
    assert long["complete_response"] > 2.0 * long["stable_disease"]


def test_values_are_missing_by_age_and_hospital_but_outcomes_are_complete(simulated):
    values = simulated.cohort.values
    lung = np.array(simulated.cohort.text("disease")) == "nsclc"
    assert 0.1 < np.isnan(values["pd_l1"][lung]).mean() < 0.6
    missing = np.isnan(values["ecog"])
    assert missing[values["age"] > 70].mean() > 1.5 * missing[values["age"] < 50].mean()
    rates = [missing[simulated.hospital == site].mean() for site in np.unique(simulated.hospital)]
    assert max(rates) > 1.5 * min(rates)
    overall_survival(simulated.cohort)
    progression_free_survival(simulated.cohort)


def test_a_missing_value_does_not_depend_on_itself(simulated):
    rng = np.random.default_rng(3)
    patients = 20_000
    albumin = rng.normal(38.0, 4.0, patients)
    values = {"age": np.full(patients, 60.0), "prior_lines": np.ones(patients), "albumin": albumin.copy()}
    leave_out(values, hospital=np.zeros(patients, dtype=np.int64), rng=rng)
    missing = np.isnan(values["albumin"])
    assert abs(albumin[missing].mean() - albumin[~missing].mean()) < 0.3


def test_every_published_score_can_be_computed_for_some_patient(simulated):
    empty = [n for n in score_names() if np.isnan(compute(load_score(n), simulated.cohort).points).all()]
    assert empty == []


def test_a_request_that_cannot_be_met_names_every_problem():
    with pytest.raises(InvalidRequest, match=r"patients.*other_solid_tumour"):
        simulate(0, seed=1, diseases=("other_solid_tumour",))


# -- the truth


@pytest.mark.parametrize("disease", ["hodgkin_lymphoma", "dlbcl", "aml", "nsclc", "glioblastoma"])
def test_the_truth_agrees_with_the_outcomes(disease):
    simulated = simulate(20_000, seed=9, diseases=(disease,))
    months = np.array([12.0, 24.0])
    survival = survival_at(overall_survival(simulated.cohort), months=months)
    event_free = survival_at(progression_free_survival(simulated.cohort), months=months)
    assert np.abs(survival - simulated.truth.true_survival(months).mean(axis=0)).max() < 0.02
    assert np.abs(event_free - simulated.truth.true_progression_free(months).mean(axis=0)).max() < 0.02
    drawn = simulated.cohort.values["response"]
    expected = simulated.truth.true_response().mean(axis=0)
    assert np.abs([(drawn <= worst).mean() for worst in (0, 1)] - expected).max() < 0.02


def test_truth_is_coherent_for_every_patient(simulated):
    months = np.linspace(0.0, 240.0, 50)
    survival = simulated.truth.true_survival(months)
    event_free = simulated.truth.true_progression_free(months)
    assert (survival[:, 0] == 1.0).all()
    assert (np.diff(survival, axis=1) <= 0.0).all()
    assert (event_free <= survival + 1e-12).all()
    response = simulated.truth.true_response()
    assert (response[:, 0] <= response[:, 1]).all()


def test_higher_true_risk_goes_with_earlier_death():
    simulated = simulate(8_000, seed=5, diseases=("colorectal_cancer",))
    risk = 1.0 - simulated.truth.true_survival(np.array([12.0]))[:, 0]
    outcome = overall_survival(simulated.cohort)
    high = risk > np.quantile(risk, 0.75)
    assert hazard_ratio(outcome.take(high), outcome.take(~high)) > 1.5


def test_plans_are_compared_on_the_same_patients(simulated):
    truth: Truth = simulated.truth
    months = np.array([24.0])
    cells = truth.under("zuma7_axi_cel").true_survival(months)[:, 0]
    platinum = truth.under("zuma7_standard").true_survival(months)[:, 0]
    lymphoma = np.array(simulated.cohort.text("disease")) == "dlbcl"
    assert np.isnan(cells[~lymphoma]).all()
    supported = truth.supported("zuma7_axi_cel")
    assert 0 < supported.sum() < lymphoma.sum()
    assert abs(100 * cells[supported].mean() - 61.0) < 3.0
    assert abs(100 * platinum[supported].mean() - 52.0) < 3.0
    with pytest.raises(NotFound):
        truth.under("no_such_arm")


def test_the_truth_of_some_rows_is_theirs(simulated):
    rows = np.array([5, 3])
    months = np.array([6.0, 12.0])
    assert np.array_equal(
        simulated.truth.take(rows).true_survival(months), simulated.truth.true_survival(months)[rows]
    )


# -- estimates


def test_estimates_agree_with_a_known_distribution():
    rng = np.random.default_rng(6)
    times = [rng.exponential(scale, 20_000) for scale in (20.0, 10.0)]
    slow, fast = (Outcome(np.minimum(t, 30.0), t <= 30.0) for t in times)
    assert survival_at(fast, months=np.array([10.0]))[0] == pytest.approx(np.exp(-1.0), abs=0.01)
    assert median(fast) == pytest.approx(10.0 * np.log(2.0), rel=0.03)
    assert hazard_ratio(slow, fast) == pytest.approx(0.5, abs=0.02)
    assert median(Outcome(np.array([1.0, 2.0]), np.array([False, False]))) == np.inf


def test_the_data_files_are_plain_yaml():
    for name in ("evidence.yaml", "populations.yaml", "prognosis.yaml", "assumptions.yaml"):
        assert isinstance(yaml.safe_load(json.dumps(read_yaml(name))), dict)
