"""Simulated cohorts with known true probabilities.

``simulate`` draws patients by setting, assigns each a plan that was studied there, draws outcomes under it,
censors them and makes some values missing. Every value is synthetic.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from features.cohort import Cohort, Provenance
from features.dictionary import FloatArray, load_dictionary
from features.eligibility import Attrition
from features.errors import InvalidRequest, Problem
from features.simulation.arms import ArmCalibration, CalibratedArm
from features.simulation.assumed import assumptions
from features.simulation.derived import code
from features.simulation.evidence import TrialArm, load_evidence
from features.simulation.missing import HOSPITALS, leave_out
from features.simulation.outcomes import ONE_DAY, DrawnOutcomes, draw_outcomes
from features.simulation.plans import draw_plan
from features.simulation.population import draw_patients, populations
from features.simulation.prognosis import CLASSES, PrognosticIndex, prognostic_index
from features.simulation.truth import Truth

FOLLOW_UP = (6.0, 96.0)  # months between a patient's index date and the day the data were cut, spread evenly
LOSS_RATE = 0.004  # loss to follow-up a month
INDEX_EVENT = "start of salvage therapy"
IntArray = npt.NDArray[np.int64]
Values = dict[str, FloatArray]


@dataclass(frozen=True)
class Simulated:
    """Simulated patients, their true probabilities, and each one's hospital."""

    cohort: Cohort
    truth: Truth
    hospital: IntArray


@dataclass(frozen=True)
class _SettingRows:
    """The rows of the patients of one disease and setting."""

    disease: str
    setting: str
    rows: IntArray


def simulate(patients: int, *, seed: int, diseases: tuple[str, ...] | None = None) -> Simulated:
    """Simulate patients with these diseases, by default all; the same seed gives the same patients.

    Plans depend on age and performance status, as in practice, so that a naive comparison of plans is
    confounded; the truth tells by how much.

    Raises:
        InvalidRequest: when there is no patient to simulate or a disease has no arm.

    """
    calibration = project_arms()
    chosen = _diseases(patients, diseases, calibration)
    rng = np.random.default_rng([seed, patients])
    places = _places(patients, chosen, calibration, rng)
    hospital = rng.integers(0, HOSPITALS, patients)
    arms = tuple(name for name, a in calibration.evidence.arms.items() if a.disease in chosen)
    names = _fields(chosen)
    values = {name: np.full(patients, np.nan) for name in names}
    shape = (patients, len(CLASSES))
    index = PrognosticIndex(*(np.zeros(patients if at not in (2, 3) else shape) for at in range(5)))
    arm, where = np.full(patients, -1, dtype=np.int64), np.zeros(patients, dtype=np.int64)
    for at, place in enumerate(places):
        drawn = np.random.default_rng(
            [seed, patients, zlib.crc32(f"{place.disease}/{place.setting}".encode())]
        )
        part = _fill(place, calibration, arms, hospital[place.rows], values, drawn)
        arm[place.rows], where[place.rows] = part[0], at
        for name in PrognosticIndex.__dataclass_fields__:
            getattr(index, name)[place.rows] = getattr(part[1], name)
    labels = tuple((place.disease, place.setting) for place in places)
    truth = Truth(calibration, arms, arm, index, labels, where)
    identifiers = tuple(f"h{h:02d}-{n:07d}" for n, h in enumerate(hospital.tolist(), start=1))
    cohort = Cohort(
        load_dictionary().slice(names), identifiers, values, (_provenance(patients, seed, chosen),)
    )
    return Simulated(cohort, truth, hospital)


@cache
def project_arms() -> ArmCalibration:
    """Return the arms of the package's evidence, each calibrated on first use."""
    return ArmCalibration(load_evidence())


def draw_arm(
    arm: CalibratedArm, patients: int, *, follow_up: tuple[float, float], rng: np.random.Generator
) -> tuple[Values, PrognosticIndex]:
    """Return an arm's patients, with plan and censored outcomes, without missing values, and their shifts."""
    values = draw_patients(arm.evidence.disease, arm.evidence.setting, patients, rng=rng)
    index = prognostic_index(arm.evidence.disease, values)
    values |= _treated(arm, index, follow_up, rng)
    return values, index


def _treated(
    arm: CalibratedArm, index: PrognosticIndex, follow_up: tuple[float, float], rng: np.random.Generator
) -> Values:
    patients = index.hazard.size
    values = draw_plan(arm, patients, rng=rng)
    outcomes = draw_outcomes(arm, index, rng=rng)
    values |= _observed(outcomes, follow_up, rng)
    criteria = assumptions()["diseases"][arm.evidence.disease]["criteria"]
    values["response"] = outcomes.response
    values["response_criteria"] = np.full(patients, code("response_criteria", criteria))
    values["grade_3_toxicity"] = outcomes.toxicity
    return values


def _observed(outcomes: DrawnOutcomes, follow_up: tuple[float, float], rng: np.random.Generator) -> Values:
    """Censor outcomes at data cut-off or loss to follow-up; times are rounded to 0.01 months."""
    patients = outcomes.death.size
    cut = np.minimum(rng.uniform(*follow_up, patients), rng.exponential(1.0 / LOSS_RATE, patients))
    cut = np.maximum(np.round(cut, 2), ONE_DAY)
    event = np.maximum(np.round(outcomes.progression_free, 2), ONE_DAY)
    death = np.maximum(np.round(outcomes.death, 2), ONE_DAY)
    ended, died = event <= cut, death <= cut
    first = np.where(outcomes.progression_free < outcomes.death, 1.0, 2.0)
    by_treatment = died & (outcomes.cause == code("cause_of_death", "treatment"))
    return {
        "months_followed": np.minimum(death, cut),
        "died": died.astype(np.float64),
        "months_progression_free": np.minimum(event, cut),
        "progressed_or_died": ended.astype(np.float64),
        "first_event": np.where(ended, first, 0.0),
        "cause_of_death": np.where(died, outcomes.cause, np.nan),
        "treatment_related_death": by_treatment.astype(np.float64),
    }


def _fill(
    place: _SettingRows,
    calibration: ArmCalibration,
    arms: tuple[str, ...],
    hospital: IntArray,
    values: Values,
    rng: np.random.Generator,
) -> tuple[IntArray, PrognosticIndex]:
    """Draw one setting's patients into the cohort's columns; return their arms and shifts."""
    drawn = draw_patients(place.disease, place.setting, place.rows.size, rng=rng)
    index = prognostic_index(place.disease, drawn)
    options = calibration.evidence.arms_in(place.disease, place.setting)
    choice = _assign(options, drawn, rng)
    leave_out(drawn, hospital=hospital, rng=rng)
    for name, column in drawn.items():
        values[name][place.rows] = column
    for at, option in enumerate(options):
        rows = np.flatnonzero(choice == at)
        outcome = _treated(calibration.arm(option.name), index.take(rows), FOLLOW_UP, rng)
        late = {"age": drawn["age"][rows], "prior_lines": drawn["prior_lines"][rows]} | outcome
        leave_out(late, hospital=hospital[rows], rng=rng)
        for name in outcome:
            values[name][place.rows[rows]] = late[name]
    positions = np.array([arms.index(option.name) for option in options], dtype=np.int64)
    return positions[choice], index


def _assign(options: tuple[TrialArm, ...], values: Values, rng: np.random.Generator) -> IntArray:
    """Assign plans: larger trials more often, intensive ones to younger and fitter patients."""
    strain = np.array([_strain(option) for option in options])
    size = np.log([np.sqrt(option.patients or 60) for option in options])
    fit = -0.3 * (values["age"] - 60.0) / 10.0 - 0.6 * (values["ecog"] >= 1.0) - 0.6 * (values["ecog"] >= 2.0)
    utility = size + np.multiply.outer(fit, strain) + rng.gumbel(size=(fit.size, len(options)))
    choice: IntArray = np.argmax(utility, axis=1)
    return choice


def _strain(arm: TrialArm) -> float:
    if any(m.endswith("_transplant") or m in ("cellular_therapy", "surgery") for m in arm.modality):
        return 1.0
    return -1.0 if "supportive_care" in arm.modality or arm.plan_regimen == "low_intensity" else 0.0


def _diseases(
    patients: int, diseases: tuple[str, ...] | None, calibration: ArmCalibration
) -> tuple[str, ...]:
    known = calibration.evidence.diseases()
    problems = []
    if patients < 1:
        problems.append(Problem("patients", "is not a positive whole number", "ask for one patient or more"))
    for name in diseases or ():
        if name not in known:
            problems.append(Problem("diseases", f"names {name}, which has no arm", "use " + ", ".join(known)))
    if problems:
        raise InvalidRequest("simulation", problems)
    return tuple(name for name in known if diseases is None or name in diseases)


def _places(
    patients: int, diseases: tuple[str, ...], calibration: ArmCalibration, rng: np.random.Generator
) -> list[_SettingRows]:
    evidence = calibration.evidence
    pairs = [(d, s) for d in diseases for s in evidence.settings(d)]
    weights: list[float] = []
    for disease in diseases:
        sizes = [
            sum(np.sqrt(a.patients or 60) for a in evidence.arms_in(disease, s))
            for s in evidence.settings(disease)
        ]
        share = assumptions()["diseases"][disease]["weight"] / sum(sizes)
        weights += [share * size for size in sizes]
    drawn = rng.choice(len(pairs), patients, p=np.array(weights) / sum(weights))
    return [_SettingRows(*pair, np.flatnonzero(drawn == at)) for at, pair in enumerate(pairs)]


@cache
def _fields(diseases: tuple[str, ...]) -> tuple[str, ...]:
    """Return every field that a patient of these diseases may have, in the dictionary's order."""
    calibration = project_arms()
    rng = np.random.default_rng(0)
    names: set[str] = set()
    for disease in diseases:
        for setting in populations()["settings"][disease]:
            names |= set(draw_patients(disease, setting, 1, rng=rng))
        for option in (a for a in calibration.evidence.arms.values() if a.disease == disease):
            names |= set(draw_arm(calibration.arm(option.name), 1, follow_up=FOLLOW_UP, rng=rng)[0])
    return load_dictionary().ordered(names)


def _provenance(patients: int, seed: int, diseases: tuple[str, ...]) -> Provenance:
    stated: dict[str, Any] = {
        "recipe": "simulation",
        "evidence": "synthetic",
        "source": f"simulated from published figures, seed {seed}; no patient is real",
        "terms": "free to use; results say nothing about any real patient",
        "index_event": INDEX_EVENT,
    }
    return Provenance(
        selection=("simulated: " + ", ".join(diseases),), attrition=Attrition(patients), **stated
    )
