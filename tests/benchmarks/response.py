"""How well response is predicted on held-out patients: ``python -m tests.benchmarks.response [--json]``.

Repeated 5-fold cross-validation on two public cohorts, beside four usual classifiers on the same folds and
columns; only what is known at the index date predicts. Each peer is fitted anew for every outcome; ours
answers all of a cohort's outcomes with one model. Everything, the choice of columns, penalties and weights
included, is learned from the training folds alone. Brier scores and AUC are means over the repeats. An
outcome with fewer than 10 patients is fitted along, but not judged.

``calibration_slope`` is that of the log odds of new simulated patients, whose true probabilities are known;
``incoherent`` counts those with a broader outcome less probable than a stricter one.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, BinaryOutcome, ResponseOutcome
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME
from models.estimators.response import CrossFittedResponse

DATA = Path(__file__).parents[2].parent / "shared" / "data"
COHORTS: Mapping[str, tuple[str, ...]] = {
    "bc-dlbcl": ("complete_response", "overall_response"),
    "oak": ("complete_response", "overall_response", "disease_control"),
}
FOLDS = 5
FEWEST_JUDGED = 10


def logistic() -> object:
    tuned = LogisticRegressionCV(scoring="neg_log_loss", max_iter=5000)
    return make_pipeline(SimpleImputer(), StandardScaler(), tuned)


def forest() -> object:
    return make_pipeline(SimpleImputer(), RandomForestClassifier(500, random_state=0))


PEERS: Mapping[str, Callable[[], object]] = {
    "logistic": logistic,
    "forest": forest,
    "hist_gradient_boosting": partial(HistGradientBoostingClassifier, random_state=0),
    "xgboost": partial(xgboost.XGBClassifier, nthread=1),
}


@dataclass(frozen=True)
class Judged:
    """A cohort's patients with a known response: who they are, and which outcomes each had."""

    cohort: Cohort
    names: tuple[str, ...]
    had: FloatArray

    @classmethod
    def read(cls, name: str) -> "Judged":
        cohort = build_cohort(load_recipe(name), source=DATA / name)
        cohort = cohort.take(~np.isnan(cohort.values["response"]))
        outcome = ENDPOINTS["response"].read(cohort)
        assert outcome.names == COHORTS[name]
        return cls(cohort, outcome.names, np.stack([part.event for part in outcome.parts], axis=1))

    def columns(self, train: IntArray, test: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return both matrices as the training patients teach to encode."""
        fields = self.cohort.dictionary.fields
        known = tuple(f.name for f in fields if f.name in self.cohort.values and f.known != "after")
        encoder = Encoder.fit(self.cohort.take(train), predictors=known)
        return encoder.encode(self.cohort.take(train)), encoder.encode(self.cohort.take(test))


def ours(X: FloatArray, had: FloatArray, names: tuple[str, ...]) -> AdditiveModel:
    everyone = np.ones(len(had), dtype=bool)
    outcome = ResponseOutcome(names, tuple(BinaryOutcome(each == 1.0, everyone) for each in had.T))
    return CrossFittedResponse().cross_fit(X, np.zeros(len(X), dtype=np.int64), outcome).model


def answered(model: AdditiveModel, X: FloatArray) -> FloatArray:
    return model.predict(X, np.zeros(len(X), dtype=np.int64), NO_TIME)[:, :, 0]


def held_out(data: Judged, seed: int) -> dict[str, FloatArray]:
    """Return each contender's probabilities of every patient, shape (patients, outcomes)."""
    found = {name: np.full(data.had.shape, np.nan) for name in ("ours", *PEERS)}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(data.had, data.had.sum(axis=1)):
        X, unseen = data.columns(train, test)
        found["ours"][test] = answered(ours(X, data.had[train], data.names), unseen)
        for at in judged(data):
            for name, peer in PEERS.items():
                fitted = peer().fit(X, data.had[train, at])  # type: ignore[attr-defined]
                found[name][test, at] = fitted.predict_proba(unseen)[:, 1]
    return found


def judged(data: Judged) -> list[int]:
    return [at for at, count in enumerate(data.had.sum(axis=0)) if count >= FEWEST_JUDGED]


def compare(name: str, repeats: int) -> dict[str, float]:
    """Return every contender's figures, and ours less the best peer's."""
    data = Judged.read(name)
    runs = [held_out(data, seed) for seed in range(repeats)]
    figures: dict[str, float] = {}
    for at in judged(data):
        key = f"{name.replace('-', '_')}_{data.names[at]}"
        had = data.had[:, at]
        for metric, measure, best in (("brier", brier_score_loss, min), ("auc", roc_auc_score, max)):
            means = {who: float(np.mean([measure(had, r[who][:, at]) for r in runs])) for who in runs[0]}
            figures |= {f"{key}_{metric}_{who}": round(mean, 5) for who, mean in means.items()}
            best_peer = best(mean for who, mean in means.items() if who != "ours")
            figures[f"{key}_{metric}_vs_best_peer"] = round(means["ours"] - best_peer, 5)
    return figures


def simulated(patients: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw columns and three nested outcomes; log odds are linear in some columns and curved in one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 8))
    common = 0.6 * X[:, 0] - 0.4 * X[:, 1] + 0.8 * (np.abs(X[:, 2]) > 1.0)
    scores = np.column_stack([common - 0.8 + 0.3 * X[:, 3], common - 0.5, common + 0.2])
    stepwise = rng.random(scores.shape) < 1.0 / (1.0 + np.exp(-scores))
    return X, np.cumprod(stepwise[:, ::-1], axis=1)[:, ::-1].astype(np.float64)


def calibration(sizes: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Return the mean calibration slopes of new simulated patients by size of the training cohort."""
    names = COHORTS["oak"]
    fresh, had = simulated(20_000, seed=10_000)
    figures: dict[str, float] = {"incoherent": 0}
    for size in sizes:
        found = []
        for seed in range(repeats):
            X, known = simulated(size, seed)
            p = answered(ours(X, known, names), fresh)
            figures["incoherent"] += int((np.diff(p, axis=1) < 0.0).any(axis=1).sum())
            found.append([slope(p[:, at], had[:, at]) for at in range(len(names))])
        for at, name in enumerate(names):
            slopes = np.array(found)[:, at]
            figures[f"calibration_slope_{size}_{name}"] = round(float(slopes.mean()), 3)
            figures[f"calibration_slope_{size}_{name}_spread"] = round(float(slopes.std()), 3)
    return figures


def slope(probability: FloatArray, had: FloatArray) -> float:
    odds = np.log(probability) - np.log1p(-probability)
    line = LogisticRegression(C=1e6).fit(odds[:, None], had)
    return float(line.coef_[0, 0])


def measure(repeats: int) -> dict[str, float]:
    figures: dict[str, float] = {"repeats": repeats}
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own, of folds in which a column is empty or constant
        for name in COHORTS:
            figures |= compare(name, repeats)
        figures |= calibration((200, 1000), repeats)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare response models on held-out patients.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the cross-validation")
    given = parser.parse_args()
    figures = measure(given.repeats)
    lines = [json.dumps(figures)] if given.json else [f"{name}: {value}" for name, value in figures.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
