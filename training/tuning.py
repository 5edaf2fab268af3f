"""Hyperparameter search inside the training patients, sparing with changes.

Trial 0 is always the defaults. The others are proposed by Optuna's tree-structured Parzen estimator near the
defaults, and every trial is judged by how well cross-fitted models predict patients that they never saw. The
best of many trials owes something to luck with the folds. So it is taken only where it beats the defaults by
more than one standard error, and does so again on other folds; else the defaults stay, as they mostly do with
a few hundred patients.

Patients held out by the caller's evaluation must not be given. The folds are of the search's own, neither
those of that evaluation nor those of the fit that follows. Source: Watanabe, arXiv 2304.11127 (the sampler).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from threadpoolctl import threadpool_limits

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.estimators.boosting import Boosting
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray
from models.estimators.slots import interval_edges, person_intervals

KINDS = ("started", "free")
OWN_FOLDS = 0x7475_6E65
Settings = Mapping[str, float]
Report = Callable[[int, Settings, float], None]


@dataclass(frozen=True)
class Trial:
    """Settings tried and their loss: minus the held-out log likelihood, per patient."""

    number: int
    settings: Settings
    loss: float


@dataclass(frozen=True)
class Advantage:
    """How much lower than the defaults' a loss is, and the difference's standard error over patients."""

    gain: float
    standard_error: float

    @classmethod
    def between(cls, defaults: FloatArray, other: FloatArray) -> "Advantage":
        """Compare two settings' losses of the same patients, shape (patients,) each."""
        gains = defaults - other
        return cls(float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))

    @property
    def clear(self) -> bool:
        """Tell whether it is more than one standard error."""
        return self.gain > self.standard_error


@dataclass(frozen=True)
class TuningResult:
    """What a search found.

    ``estimator`` is ready to fit and ``settings`` are its own; ``chosen`` is the trial they come from, 0 for
    the defaults. ``searched`` is the advantage of the best trial; ``confirmed`` the same on other folds,
    None where the first was not clear.
    """

    estimator: CrossFitted
    settings: Settings
    chosen: int
    trials: tuple[Trial, ...]
    searched: Advantage
    confirmed: Advantage | None

    @property
    def losses(self) -> tuple[float, ...]:
        """Return every trial's loss, the defaults' first."""
        return tuple(trial.loss for trial in self.trials)

    def as_dict(self) -> dict[str, float]:
        """Return the outcome as parameters to log: what was chosen, and by how much the best trial won."""
        summary = {
            "tuning_trials": len(self.trials),
            "tuning_chosen": self.chosen,
            "tuning_gain": self.searched.gain,
            "tuning_standard_error": self.searched.standard_error,
        }
        return summary | {f"tuning_{name}": value for name, value in self.settings.items()}


def tune(
    X: FloatArray,
    strata: IntArray,
    outcome: Outcome,
    *,
    trials: int,
    seed: int,
    estimator: CrossFitted | None = None,
    report: Report = lambda number, settings, loss: None,
) -> TuningResult:
    """Search settings of the boosted hazards for these training patients.

    ``trials`` counts the defaults in, so one trial means no search. ``report`` hears of each trial as it
    ends. The same data, estimator, trials and seed give the same result.

    Raises:
        InvalidInput: for fewer than one trial.
        NotFittable: as :meth:`~models.estimators.cross_fitted.CrossFitted.fit`.

    """
    if trials < 1:
        raise InvalidInput("tuning", [Problem("trials", "is below one", "the defaults are one trial")])
    defaults, seeds = CrossFitted(seed=seed) if estimator is None else estimator, own_seeds(seed)
    searched, space = replace(defaults, seed=seeds[0], repeats=1), search_space(defaults)
    tried, losses = [], []
    with threadpool_limits(1), _quiet():
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seeds[0]))
        study.enqueue_trial(dict(settings_of(defaults)))
        for number in range(trials):
            proposed = study.ask(dict(space))
            loss, penalty = _judge(with_settings(searched, proposed.params), X, strata, outcome)
            losses.append(loss)
            tried.append(Trial(number, dict(proposed.params), float(loss.mean())))
            study.tell(proposed, tried[-1].loss)
            report(number, tried[-1].settings, tried[-1].loss)
            # the Cox regression's own penalty does not depend on the trees, so it is chosen once
            searched = replace(searched, cox=RidgeCox(penalties=(penalty,)))
        best = min(tried, key=lambda trial: trial.loss)
        advantage, confirmed = Advantage.between(losses[0], losses[best.number]), None
        if advantage.clear:
            others = replace(searched, seed=seeds[1])
            confirmed = Advantage.between(
                *(_judge(with_settings(others, t.settings), X, strata, outcome)[0] for t in (tried[0], best))
            )
    better = confirmed is not None and confirmed.clear
    chosen = best if better else tried[0]
    ready = with_settings(defaults, best.settings) if better else defaults
    return TuningResult(ready, chosen.settings, chosen.number, tuple(tried), advantage, confirmed)


def settings_of(estimator: CrossFitted) -> Settings:
    """Return the settings that are searched, by name."""
    return {
        f"{kind}_{name}": getattr(getattr(estimator, kind), name)
        for kind in KINDS
        for name in ("depth", "learning_rate", "smallest_hessian", "ridge", "column_share")
    }


def with_settings(estimator: CrossFitted, settings: Settings) -> CrossFitted:
    """Return the estimator with these settings in place of its own."""
    changed: dict[str, Boosting] = {}
    for kind in KINDS:
        own = {name.removeprefix(f"{kind}_"): v for name, v in settings.items() if name.startswith(kind)}
        changed[kind] = replace(getattr(estimator, kind), **own)
    return replace(estimator, **changed)  # type: ignore[arg-type]  # mypy takes one type for all fields


def search_space(estimator: CrossFitted) -> Mapping[str, BaseDistribution]:
    """Return each setting's range around the estimator's own value, which always lies within."""
    return {
        f"{kind}_{name}": values
        for kind in KINDS
        for name, values in _around(getattr(estimator, kind)).items()
    }


def held_out_loss(held_out: FloatArray, outcome: Outcome, edges: FloatArray) -> FloatArray:
    """Return each patient's minus log likelihood from held-out log odds of shape (patients, intervals)."""
    rows = person_intervals(outcome, edges)
    margin = held_out[rows.patient, rows.slot]
    lost = rows.weight * (np.logaddexp(0.0, margin) - rows.event * margin)
    loss: FloatArray = np.bincount(rows.patient, lost, len(outcome)).astype(np.float64)
    return loss


def own_seeds(seed: int) -> tuple[int, int]:
    """Return the seeds of the search and of its confirmation, far from those that follow the given one."""
    first, second = np.random.SeedSequence((seed, OWN_FOLDS)).generate_state(2) // 2
    return int(first), int(second)


def _around(how: Boosting) -> dict[str, BaseDistribution]:
    share = how.column_share
    return {
        "depth": IntDistribution(max(1, how.depth - 2), how.depth + 1),
        "learning_rate": FloatDistribution(how.learning_rate / 3, how.learning_rate * 3, log=True),
        "smallest_hessian": FloatDistribution(how.smallest_hessian / 4, how.smallest_hessian * 4, log=True),
        "ridge": FloatDistribution(how.ridge / 4, how.ridge * 4, log=True),
        "column_share": FloatDistribution(min(0.3, share), max(1.0, share)),
    }


def _judge(how: CrossFitted, X: FloatArray, strata: IntArray, outcome: Outcome) -> tuple[FloatArray, float]:
    """Return each patient's held-out loss, and the Cox regression's penalty."""
    fitted = how.cross_fit(X, strata, outcome)
    loss = held_out_loss(fitted.held_out.scores, outcome, interval_edges(outcome, count=how.intervals))
    return loss, fitted.model.hyperparameters["cox_penalty"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own log of every trial off the terminal, and leave its level as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
