"""How often intervals hold the true risk: python -m tests.benchmarks.coverage [--json] [--cohorts N]

Cohorts are simulated from known truths, the default model and its intervals are fitted to each, and 500 new
patients' true risks are looked up in their 90 % intervals. ``coverage_n`` is the mean over patients,
horizons, cohorts and truths at n training patients; ``n.truth`` each truth's own; ``width_n`` the mean width.

The true risk is that of patients alike in everything recorded. Where values are missing it is an average over
what they may be. In the project's own simulator it also depends on what no column records (the trial that
calibrated a plan's arm); there it is a regression of the true risks of 30,000 patients on their records, and
``n.truth.everything`` the coverage of each patient's own. ``lived_n`` is the share of patients who outlive
their conformal lower bound of nine in ten. ``coverage_error_n`` is the standard error of the coverage over
cohorts of these truths. ``--truths chosen`` runs the truths by which the estimator's share of squared bias
(``CrossFitted.unlearned``) was set; the default are others.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import xgboost

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, overall_survival
from features.protocol import load_protocol
from features.simulation.simulate import Simulated, simulate
from models.bundle.bundle import strata
from models.estimators.additive import AdditiveModel
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray, supported_until
from models.estimators.interface import CrossFit
from models.uncertainty.conformal import SurvivalBounds
from models.uncertainty.intervals import Intervals

SIZES = (300, 1000, 5000)
NEW_PATIENTS = 500
LEVEL = 0.9
SURVIVING = (0.85, 0.7, 0.55, 0.4, 0.25)
"""Horizons are where these shares of all patients survive."""
STEEPEST = 6.0
DRAWS = 200
RECORDED = 30_000
MONTHS = np.linspace(0.25, 120.0, 480)
By = Callable[[FloatArray, IntArray], FloatArray]


def even(value: float) -> By:
    return lambda Z, s: np.full(len(Z), value)


def linear(*effects: float) -> By:
    """Return a score with effects of the first columns."""
    return lambda Z, s: Z[:, : len(effects)] @ np.array(effects)


def of_disease(*values: float) -> By:
    return lambda Z, s: np.array(values)[s]


ONE, NOBODY = even(1.0), even(0.0)


@dataclass(frozen=True)
class Sample:
    """Training patients, and new patients ``asked`` about with their true survival (patients, horizons).

    ``own`` is what is true of each new patient, ``event`` when the event comes (infinite for the cured).
    """

    X: FloatArray
    strata: IntArray
    outcome: Outcome
    asked: FloatArray
    asked_strata: IntArray
    horizons: FloatArray
    truth: FloatArray
    own: FloatArray
    event: FloatArray


@dataclass(frozen=True)
class Drawn:
    """Patients' columns as normal deviates, diseases, and which columns are missing."""

    deviates: FloatArray
    strata: IntArray
    missing: BoolArray


@dataclass(frozen=True)
class Truth:
    """S(t) = cured + (1 - cured) exp(-exp(score) (t / scale)^shape), of equally correlated columns.

    The last ``binary`` columns are 0 or 2. Censoring is even between the two months ``followed``.
    """

    name: str
    columns: int
    score: By
    shape: By = ONE
    cured: By = NOBODY
    scale: float = 24.0
    correlation: float = 0.3
    binary: int = 0
    diseases: tuple[float, ...] = (1.0,)
    missing: float = 0.0
    followed: tuple[float, float] = (12.0, 72.0)

    def sample(self, patients: int, *, seed: int) -> Sample:
        rng = np.random.default_rng([seed, patients, *self.name.encode()])
        known, new, many = (self.draw(count, rng) for count in (patients, NEW_PATIENTS, 4000))
        event, censored = self.event(known, rng), rng.uniform(*self.followed, patients)
        outcome = Outcome(np.maximum(np.minimum(event, censored), 1e-3), event <= censored)
        months = np.linspace(1.0, min(60.0, self.followed[1]), 240)
        mean = self.survival(self.values(many.deviates), many.strata, months).mean(axis=0)
        horizons = np.interp([-share for share in SURVIVING if share > mean[-1]], -mean, months)
        truth = self.recorded_survival(new, horizons, rng)
        return Sample(
            self.shown(known), known.strata, outcome, self.shown(new), new.strata, horizons, truth, truth,
            self.event(new, rng),
        )  # fmt: skip

    def draw(self, patients: int, rng: np.random.Generator) -> Drawn:
        common, own = rng.normal(size=(patients, 1)), rng.normal(size=(patients, self.columns))
        return Drawn(
            np.sqrt(self.correlation) * common + np.sqrt(1.0 - self.correlation) * own,
            rng.choice(len(self.diseases), patients, p=self.diseases),
            rng.random((patients, self.columns)) < self.missing,
        )

    def values(self, deviates: FloatArray) -> FloatArray:
        first = self.columns - self.binary
        return np.hstack([deviates[:, :first], 2.0 * (deviates[:, first:] > 0.5)])

    def shown(self, drawn: Drawn) -> FloatArray:
        return np.where(drawn.missing, np.nan, self.values(drawn.deviates))

    def survival(self, Z: FloatArray, s: IntArray, months: FloatArray) -> FloatArray:
        hazard = self._hazard(Z, s)[:, None] * (months / self.scale) ** self.shape(Z, s)[:, None]
        cured = self.cured(Z, s)[:, None]
        return cured + (1.0 - cured) * np.exp(-hazard)

    def event(self, drawn: Drawn, rng: np.random.Generator) -> FloatArray:
        Z, s = self.values(drawn.deviates), drawn.strata
        left, cured = rng.random(len(Z)), self.cured(Z, s)
        hazard = -np.log(np.clip((left - cured) / (1.0 - cured), 1e-300, 1.0))
        months = self.scale * (hazard / self._hazard(Z, s)) ** (1.0 / self.shape(Z, s))
        return np.where(left > cured, months, np.inf)

    def recorded_survival(self, drawn: Drawn, months: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return survival averaged over what the missing columns may be, given the deviates of the others."""
        if not drawn.missing.any():
            return self.survival(self.values(drawn.deviates), drawn.strata, months)
        r, known = self.correlation, np.where(drawn.missing, 0.0, drawn.deviates)
        certain = 1.0 + (~drawn.missing).sum(axis=1) * r / (1.0 - r)
        centre = np.sqrt(r) / (1.0 - r) * known.sum(axis=1) / certain
        total = np.zeros((len(known), len(months)))
        for _ in range(DRAWS):
            common = centre + rng.normal(size=len(known)) / np.sqrt(certain)
            drawn_too = np.sqrt(r) * common[:, None] + np.sqrt(1.0 - r) * rng.normal(size=known.shape)
            filled = np.where(drawn.missing, drawn_too, known)
            total += self.survival(self.values(filled), drawn.strata, months) / DRAWS
        return total

    def _hazard(self, Z: FloatArray, s: IntArray) -> FloatArray:
        return np.exp(np.clip(self.score(Z, s), -STEEPEST, STEEPEST))


@dataclass(frozen=True)
class Salvage:
    """The project's own simulator: some diseases, the predictors of the protocol ``salvage``."""

    name: str
    diseases: tuple[str, ...]

    def sample(self, patients: int, *, seed: int) -> Sample:
        drawn = simulate(patients + 2 * NEW_PATIENTS, seed=1000 + seed, diseases=self.diseases)
        protocol, cohort = load_protocol("salvage"), drawn.cohort
        horizons = np.array(protocol.horizons, dtype=np.float64)
        names = tuple(name for name in protocol.predictors if name in cohort.dictionary.names)
        order = tuple(disease for disease in protocol.diseases if disease in self.diseases)
        encoder = Encoder.fit(cohort.take(np.arange(patients)), predictors=names)
        X, s, outcome = encoder.encode(cohort), strata(cohort, order), overall_survival(cohort)
        own = drawn.truth.true_survival(horizons)
        answered = np.flatnonzero(~np.isnan(own).any(axis=1))
        new, known = answered[answered >= patients][:NEW_PATIENTS], np.arange(patients)
        rest = many(self.diseases)
        recorded = regressed(rest, horizons, encoder.encode(rest.cohort), strata(rest.cohort, order))
        return Sample(
            X[known], s[known], outcome.take(known), X[new], s[new], horizons, recorded(X[new], s[new]),
            own[new], events(drawn.truth.take(new).true_survival, seed=seed),
        )  # fmt: skip


@cache
def many(diseases: tuple[str, ...]) -> Simulated:
    return simulate(RECORDED, seed=77, diseases=diseases)


def regressed(
    simulated: Simulated, horizons: FloatArray, X: FloatArray, s: IntArray
) -> Callable[[FloatArray, IntArray], FloatArray]:
    """Return the mean true survival of patients alike in their records, by boosted regression."""
    own = simulated.truth.true_survival(horizons)
    answered = ~np.isnan(own).any(axis=1)
    settings = {
        "objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "subsample": 0.7, "colsample_bynode": 0.4,
        "tree_method": "hist", "min_child_weight": 2, "nthread": 1,
    }  # fmt: skip
    rows = np.column_stack([s, X])[answered]
    labelled = [xgboost.DMatrix(rows, label=label, nthread=1) for label in own[answered].T]
    boosters = [xgboost.train(settings, known, 250) for known in labelled]

    def answer(new: FloatArray, stratum: IntArray) -> FloatArray:
        asked = xgboost.DMatrix(np.column_stack([stratum, new]), nthread=1)
        return np.column_stack([booster.predict(asked) for booster in boosters]).astype(np.float64)

    return answer


def events(survival: Callable[[FloatArray], FloatArray], *, seed: int) -> FloatArray:
    """Draw event times from true survival on a grid of months; infinite beyond it."""
    curves = survival(MONTHS)
    left = np.random.default_rng(seed).random(len(curves))
    return np.array([
        np.interp(-u, -curve, MONTHS) if u > curve[-1] else np.inf
        for u, curve in zip(left, curves, strict=True)
    ])  # fmt: skip


CHOSEN = (
    Truth("linear", 15, linear(0.35, -0.3, 0.25, 0.2, -0.2, 0.15, 0.15, -0.1, 0.1, 0.1, 0.05, -0.05)),
    Truth("sparse", 30, linear(0.7, -0.5, 0.4)),
    Truth("curved", 12, lambda Z, s: 0.5 * Z[:, 0] + 0.35 * (Z[:, 1] ** 2 - 1) + 0.5 * Z[:, 2] * (Z[:, 3] > 0)
          - 0.4 * np.abs(Z[:, 4]) + 0.3 * Z[:, 5], correlation=0.2),
    Truth("not_proportional", 12, linear(0.5, -0.3, 0.2),
          shape=lambda Z, s: np.exp(-0.25 * Z[:, 0] + 0.15 * Z[:, 3]).clip(0.4, 2.0)),
    Truth("weak", 20, linear(0.15, -0.12, 0.1, 0.08)),
    Truth("strong", 15, linear(1.0, -0.8, 0.6, 0.4, -0.3, 0.3)),
    Truth("missing", 18, linear(0.5, 0.3, -0.3, 0.2, 0.2, 0, 0, 0, 0, 0, 0, 0.3, 0.3, -0.3, 0.2), binary=8,
          missing=0.15, correlation=0.4),
    Truth("diseases", 16, lambda Z, s: of_disease(0.0, 0.6, -0.4)(Z, s) + 0.4 * Z[:, 0] - 0.3 * Z[:, 1]
          + 0.3 * Z[:, 2] * (s == 0) + 0.3 * Z[:, 3] * (s == 1), diseases=(0.55, 0.3, 0.15), binary=4),
    Truth("rare", 20, linear(0.5, -0.4, 0.3, 0.2), scale=120.0, followed=(24.0, 72.0)),
    Truth("cured", 14, linear(0.4, 0.3, -0.3), shape=even(1.3), scale=12.0,
          cured=lambda Z, s: 1 / (1 + np.exp(0.8 + 0.7 * Z[:, 0] - 0.5 * Z[:, 3]))),
    Truth("interacting", 25, lambda Z, s: 0.6 * Z[:, 0] * Z[:, 1] + 0.4 * np.sin(2 * Z[:, 2])
          + 0.5 * (Z[:, 3] > 0.5) - 0.3 * Z[:, 4], correlation=0.1),
    Truth("correlated", 40, linear(*[0.15] * 10, *[-0.15] * 6), correlation=0.6, binary=15),
    Truth("nothing", 15, linear(0.0)),
    Truth("mixed", 22, lambda Z, s: of_disease(0.0, 0.5, -0.5, 0.3)(Z, s) + 0.5 * Z[:, 0]
          - 0.4 * np.maximum(Z[:, 1], 0) + 0.4 * Z[:, 2] * (s == 2) + 0.3 * Z[:, 21] * Z[:, 0]
          - 0.3 * Z[:, 20],
          shape=lambda Z, s: np.exp(0.2 * Z[:, 1]).clip(0.5, 1.8), diseases=(0.4, 0.3, 0.2, 0.1), binary=8,
          missing=0.2, correlation=0.35, scale=18.0),
    Truth("fast", 10, linear(0.5, -0.4, 0.3), scale=6.0, followed=(24.0, 60.0), shape=even(0.7)),
    Salvage("simulated_lymphoma", ("dlbcl",)),
    Salvage("simulated_three", ("aml", "nsclc", "breast_cancer")),
    Truth("thresholds", 16, lambda Z, s: 0.7 * (Z[:, 0] > 0.3) - 0.5 * (Z[:, 1] > -0.5) + 0.25 * Z[:, 12]
          - 0.2 * Z[:, 13] + 0.3 * (Z[:, 2] > 0) * (Z[:, 14] > 0), binary=6),
    Truth("smooth", 20, lambda Z, s: 0.6 * np.tanh(1.5 * Z[:, 0]) + 0.2 * (Z[:, 1] ** 2 - 1) - 0.4 * Z[:, 2]
          + 0.2 * Z[:, 3], shape=even(1.2), correlation=0.4, followed=(6.0, 48.0)),
    Truth("many", 50, linear(0.3, 0.25, -0.25, 0.2, -0.2, 0.15, 0.15, 0.1), correlation=0.2, missing=0.05,
          binary=20),
    Truth("crossing", 10, lambda Z, s: 0.4 * Z[:, 0] - 0.3 * Z[:, 1],
          shape=lambda Z, s: np.where(Z[:, 9] > 0, 0.75, 1.25), binary=3),
    Truth("late", 18, linear(0.45, -0.35, 0.3, 0.2, -0.2), scale=60.0, followed=(6.0, 60.0), missing=0.1),
    Truth("subgroups", 14, lambda Z, s: of_disease(0.3, -0.3, 0.0, 0.5)(Z, s) + 0.5 * Z[:, 0] * (s < 2)
          + 0.25 * Z[:, 1] - 0.35 * Z[:, 2] * (Z[:, 13] > 0), diseases=(0.35, 0.3, 0.2, 0.15), binary=4,
          shape=lambda Z, s: of_disease(0.9, 1.1, 1.0, 1.2)(Z, s), missing=0.05),
    Salvage("simulated_brain", ("glioblastoma", "other_cns_tumour")),
)  # fmt: skip

UNSEEN = (
    Truth("steps", 24, lambda Z, s: 0.5 * np.floor(np.clip(Z[:, 0], -1.5, 1.5)) - 0.4 * (np.abs(Z[:, 1]) > 1)
          + 0.25 * Z[:, 14] - 0.2 * Z[:, 15] + 0.2 * Z[:, 16], binary=10, correlation=0.25, missing=0.1),
    Truth("saturating", 12, lambda Z, s: 0.8 * np.tanh(Z[:, 0]) - 0.4 * Z[:, 1] + 0.3 * Z[:, 0] * Z[:, 2]
          + 0.2 * Z[:, 3], shape=even(0.8), correlation=0.45),
    Truth("few_columns", 6, lambda Z, s: 0.6 * Z[:, 0] - 0.3 * Z[:, 1] + 0.2 * (Z[:, 2] ** 2 - 1),
          correlation=0.15, followed=(3.0, 60.0)),
    Truth("wide", 60, linear(0.5, -0.4, 0.3, 0.2, -0.2), binary=30),
    Truth("early", 15, lambda Z, s: of_disease(0.2, -0.4)(Z, s) + 0.4 * Z[:, 0] + 0.3 * Z[:, 1] * (s == 0),
          shape=lambda Z, s: np.exp(-0.2 * Z[:, 2]).clip(0.5, 1.8), cured=even(0.2), diseases=(0.7, 0.3),
          scale=15.0, missing=0.05),
    Salvage("simulated_other", ("ovarian_cancer", "sclc")),
)  # fmt: skip
TRUTHS = {"chosen": CHOSEN, "unseen": UNSEEN}


def measured(truth: Truth | Salvage, patients: int, *, seed: int) -> dict[str, float]:
    """Return coverage, width and the share outliving their lower bound in one cohort."""
    sample = truth.sample(patients, seed=seed)
    fit = CrossFitted(seed=seed).cross_fit(sample.X, sample.strata, sample.outcome)
    found = Intervals.fit(
        fit, sample.X, sample.strata, sample.horizons, endpoint=ENDPOINTS["overall_survival"],
        unlearned=CrossFitted.unlearned,
    )  # fmt: skip
    predicted = fit.model.predict(sample.asked, sample.asked_strata, sample.horizons)
    low, high = (
        bound[:, 0]
        for bound in found.around(predicted, sample.asked, sample.asked_strata, sample.horizons, level=LEVEL)
    )
    return {
        "coverage": inside(sample.truth, low, high),
        "everything": inside(sample.own, low, high),
        "width": float((high - low).mean()),
    } | outlived(fit, sample)


def inside(truth: FloatArray, low: FloatArray, high: FloatArray) -> float:
    return float(((truth >= low) & (truth <= high)).mean())


def outlived(fit: CrossFit[AdditiveModel], sample: Sample) -> dict[str, float]:
    """Return the share of new patients who live at least as long as their bound; nothing without bounds."""
    followed = [sample.outcome.take(sample.strata == at) for at in range(int(sample.strata.max()) + 1)]
    limits = {str(at): supported_until(outcome) for at, outcome in enumerate(followed)}
    bounds = SurvivalBounds.fit(fit, sample.strata, sample.outcome, limits=limits, level=LEVEL)
    if bounds is None:
        return {}
    bound = bounds.bound(fit.model, sample.asked, sample.asked_strata)
    return {"lived": float((sample.event >= bound).mean())}


def figures(truths: Sequence[Truth | Salvage], sizes: Sequence[int], cohorts: int) -> dict[str, float]:
    """Return means over the truths, and each truth's own."""
    found: dict[str, float] = {}
    for patients in sizes:
        repeats = drawn(patients, cohorts)
        each = {t.name: [measured(t, patients, seed=s) for s in range(repeats)] for t in truths}
        by_truth = {name: mean(cohorts_of) for name, cohorts_of in each.items()}
        whole = mean(list(by_truth.values()))
        found |= {f"{name}_{patients}": whole[name] for name in ("coverage", "width", "lived")}
        if repeats > 1:
            found[f"coverage_error_{patients}"] = standard_error(list(each.values()))
        for name, own in by_truth.items():
            found[f"{patients}.{name}"] = own["coverage"]
            if own["everything"] != own["coverage"]:
                found[f"{patients}.{name}.everything"] = own["everything"]
    return {name: round(value, 4) for name, value in found.items()}


def drawn(patients: int, cohorts: int) -> int:
    """Return how many cohorts to draw: thrice as many small ones, which vary most, half as many large."""
    if patients < SIZES[1]:
        return 3 * cohorts
    return cohorts if patients == SIZES[1] else max(1, cohorts // 2)


def standard_error(each: list[list[dict[str, float]]]) -> float:
    """Return the standard error of the mean coverage, from the spread of each truth's cohorts."""
    variances = [np.var([one["coverage"] for one in cohorts], ddof=1) / len(cohorts) for cohorts in each]
    return float(np.sqrt(np.mean(variances) / len(each)))


def mean(each: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in each for name in one)
    return {name: float(np.mean([one[name] for one in each if name in one])) for name in names}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--cohorts", type=int, default=2, help="cohorts of 1,000 a truth; more small, fewer large"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--truths", choices=sorted(TRUTHS), default="unseen")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = figures(TRUTHS[options.truths], options.sizes, options.cohorts)
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
