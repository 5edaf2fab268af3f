"""Calibrated arms: individual models whose average over the arm's patients meets the published figures.

Each patient i has a prognostic index, centred in the arm's population, and with w = exp(index):

    overall survival              S_i(t) = exp(-w O(t))
    progression-free survival     S_i(t) = exp(-w (A(t)^theta + O(t)^theta)^(1/theta))
    response                      logit P(response or better) = intercept + shift (ordered logit)

O and A are baseline cumulative hazards of death and of latent progression, tied by a Gumbel copula with
parameter theta (Hougaard, Analysis of Multivariate Survival Data, 2000), so that progression-free survival is
the earlier of the two times and never the later. They are solved for: with L(h) the mean of exp(-w h) over a
fixed panel of the arm's patients, L(O(t)) equals the marginal curve through the published points.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from features.dictionary import FloatArray
from features.simulation.assumed import assumptions, is_curable, modality_of, rates_of
from features.simulation.curves import (
    DEFAULT_SHAPE,
    GRID,
    cumulative_hazard,
    shape_from_ratio,
    stretch,
)
from features.simulation.evidence import TrialArm, TrialEndpoint, TrialEvidence
from features.simulation.population import draw_patients
from features.simulation.prognosis import PrognosticIndex, prognostic_index

PANEL, NODES = 8192, 512  # patients of the panel, and the groups of equal size that they are averaged in
PANEL_SEED = 20_240_901
THETAS = (2.0, 1.5, 1.2, 1.05, 3.0, 4.0, 6.0, 10.0)  # in the order in which they are tried
MISFIT = 0.004  # the largest error of marginal progression-free survival up to FITTED_MONTHS that is accepted
FITTED_MONTHS = 84.0
ROOM = 1.03  # by how much the hazard of progression or death exceeds that of death, where no figure says more
CURABLE_SCALE = 0.65  # share of the progression hazard that turns into death where relapse can be cured


@dataclass(frozen=True)
class CalibratedArm:
    """An arm's outcome model, from which outcomes are drawn and true probabilities computed.

    ``death``, ``latent`` and ``progression_free`` are baseline cumulative hazards on ``curves.GRID``,
    ``centre`` the mean prognostic index of the arm's population. ``treatment_share`` of the deaths without
    progression in the first ``treatment_months`` are caused by the treatment. ``uncalibrated`` names the
    quantities that no checked figure determined.
    """

    evidence: TrialArm
    centre: float
    death: FloatArray
    latent: FloatArray
    progression_free: FloatArray
    theta: float
    response_intercept: float
    complete_intercept: float
    toxicity_intercept: float
    treatment_share: float
    treatment_months: float
    curable: bool
    uncalibrated: tuple[str, ...]

    def response_probabilities(self, odds: FloatArray) -> FloatArray:
        """Return the probabilities of complete and of any response, shape (patients, 2)."""
        return np.column_stack([expit(self.complete_intercept + odds), expit(self.response_intercept + odds)])


@dataclass(frozen=True)
class _Dependence:
    theta: float
    latent: FloatArray
    progression_free: FloatArray
    early_deaths: float


class ArmCalibration:
    """The arms of an evidence table, each calibrated on first use; deterministic."""

    def __init__(self, evidence: TrialEvidence) -> None:
        self.evidence = evidence
        self._arms: dict[str, CalibratedArm] = {}

    def arm(self, name: str) -> CalibratedArm:
        """Return a calibrated arm.

        Raises:
            NotFound: for an unknown name.

        """
        if name not in self._arms:
            self._arms[name] = calibrate(self.evidence.arm(name), self.evidence)
        return self._arms[name]


def calibrate(arm: TrialArm, evidence: TrialEvidence) -> CalibratedArm:
    """Solve for an arm's baseline hazards and intercepts over a fixed panel of its patients."""
    index = _panel(arm.disease, arm.setting)
    log_hazard, odds = index.under(arm)
    centre = float(log_hazard.mean())
    weight = np.sort(np.exp(log_hazard - centre)).reshape(NODES, -1).mean(axis=1)
    window = float(modality_of(arm)["months"])
    curves, derived = _marginal_curves(arm, evidence)
    death, progression_free = (_baseline(curve, weight) for curve in curves)
    death = np.minimum(death, progression_free / 1.015)
    rates, assumed_rates = rates_of(arm)
    wanted = 0.0 if "trm" in assumed_rates else rates["trm"]
    bond = _couple(death, progression_free, weight, wanted=wanted, months=window)
    return CalibratedArm(
        evidence=arm,
        centre=centre,
        death=death,
        latent=bond.latent,
        progression_free=bond.progression_free,
        theta=bond.theta,
        response_intercept=_intercept(rates["orr"], odds),
        complete_intercept=_intercept(rates["cr"], odds),
        toxicity_intercept=_intercept(rates["grade3"], index.toxicity),
        treatment_share=min(1.0, rates["trm"] / max(bond.early_deaths, 1e-9)),
        treatment_months=window,
        curable=is_curable(arm),
        uncalibrated=(*derived, *assumed_rates),
    )


@cache
def _panel(disease: str, setting: str) -> PrognosticIndex:
    rng = np.random.default_rng(PANEL_SEED)
    return prognostic_index(disease, draw_patients(disease, setting, PANEL, rng=rng))


def _marginal_curves(
    arm: TrialArm, evidence: TrialEvidence
) -> tuple[tuple[FloatArray, FloatArray], tuple[str, ...]]:
    """Return marginal cumulative hazards of death and of progression or death, and which were assumed."""
    curable, assumed = is_curable(arm), assumptions()["diseases"][arm.disease]
    ratio, scale = assumed["time_ratio"], CURABLE_SCALE if curable else 1.0
    deaths, events = arm.points("os"), arm.points("pfs")
    if not deaths and not events:
        death = cumulative_hazard([(assumed["median_os"], 0.5)], shape=DEFAULT_SHAPE, curable=curable)
        return (death, stretch(death, time_ratio=1.0 / ratio, scale=1.0 / scale)), ("os", "pfs")
    if not events:
        death = cumulative_hazard(deaths, shape=_shape(arm, evidence, "os"), curable=curable)
        return (death, stretch(death, time_ratio=1.0 / ratio, scale=1.0 / scale)), ("pfs",)
    event = cumulative_hazard(events, shape=_shape(arm, evidence, "pfs"), curable=curable)
    if not deaths:
        return (stretch(event, time_ratio=ratio, scale=scale), event), ("os",)
    death = cumulative_hazard(deaths, shape=_shape(arm, evidence, "os"), curable=curable)
    return (death, np.maximum(event, ROOM * death)), ()


def _shape(arm: TrialArm, evidence: TrialEvidence, endpoint: TrialEndpoint) -> float:
    """Return the Weibull shape implied by a published hazard ratio where both arms have a median."""
    for pair in evidence.comparisons:
        if pair.endpoint != endpoint or arm.name not in (pair.arm, pair.control) or not pair.checked:
            continue
        medians = [evidence.arm(name).checked(f"median_{endpoint}") for name in (pair.arm, pair.control)]
        if medians[0] is not None and medians[1] is not None:
            return shape_from_ratio(pair.hazard_ratio, median=medians[0], control_median=medians[1])
    return DEFAULT_SHAPE


def _baseline(curve: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the baseline cumulative hazard h for which -log mean exp(-w h) is the marginal curve."""
    trial = np.geomspace(1e-6, 1e4, 500)
    marginal = marginal_hazard(trial, weight)
    kept = np.concatenate([[True], np.diff(marginal) > 0]) & (marginal < 25.0)
    known = np.log(np.clip(curve, 1e-9, 12.0))
    baseline: FloatArray = np.exp(np.interp(known, np.log(marginal[kept]), np.log(trial[kept])))
    baseline[curve <= 0.0] = 0.0
    return baseline


def marginal_hazard(baseline: FloatArray, weight: FloatArray) -> FloatArray:
    """Return -log of the mean survival of patients with these hazard weights."""
    survival = np.exp(-np.multiply.outer(baseline, weight)).mean(axis=1)
    hazard: FloatArray = -np.log(np.maximum(survival, 1e-300))
    return hazard


def _couple(
    death: FloatArray, progression_free: FloatArray, weight: FloatArray, *, wanted: float, months: float
) -> _Dependence:
    """Return the copula's theta and the latent hazard of progression that goes with it.

    The first theta of ``THETAS`` counts that reproduces the progression-free curve and leaves enough deaths
    without progression in the first ``months`` for the published treatment-related mortality (``wanted``).
    Where deaths come late, long after progression, a weak dependence would require a latent cumulative hazard
    that falls.
    """
    fitted = GRID <= FITTED_MONTHS
    target = np.exp(-marginal_hazard(progression_free[fitted], weight))
    bonds, misfits = [], []
    for theta in THETAS:
        powered = np.maximum.accumulate(progression_free**theta - death**theta)
        given = (powered + death**theta) ** (1.0 / theta)
        early = _deaths_first(months, death, given, theta, weight)
        bonds.append(_Dependence(theta, powered ** (1.0 / theta), given, early))
        misfits.append(np.abs(np.exp(-marginal_hazard(given[fitted], weight)) - target).max())
        if misfits[-1] < MISFIT and early >= wanted:
            return bonds[-1]
    close = [bond for bond, misfit in zip(bonds, misfits, strict=True) if misfit < MISFIT]
    if wanted and close:
        return max(close, key=lambda bond: bond.early_deaths)
    return bonds[int(np.argmin(misfits))]


def _intercept(rate: float, odds: FloatArray) -> float:
    """Return the intercept at which the panel's mean probability is the rate."""
    if rate <= 0.0 or rate >= 1.0:
        return -40.0 if rate <= 0.0 else 40.0
    return float(brentq(lambda intercept: float(expit(intercept + odds).mean()) - rate, -30.0, 30.0))


def _deaths_first(
    months: float, death: FloatArray, progression_free: FloatArray, theta: float, weight: FloatArray
) -> float:
    """Return the mean probability of death without progression in the first ``months``."""
    early = months >= GRID
    middle = 0.5 * (progression_free[early][1:] + progression_free[early][:-1])
    first = (0.5 * (death[early][1:] + death[early][:-1]) / np.maximum(middle, 1e-12)) ** (theta - 1.0)
    step = np.minimum(first, 1.0) * np.diff(death[early])
    return float(((np.exp(-np.multiply.outer(weight, middle)) @ step) * weight).mean())
