"""How near explanations are to sampled Shapley values: python -m tests.benchmarks.faithfulness [--json]

On the public relapse cohorts, held-out patients of a model fitted without them, survival at 24 months. Two
games are sampled by permutations. *shares*: predictors enter with their shares of the scores, as they are
carried through the probability; this is the value function that explanations integrate, so the difference
is Aumann-Shapley's value against Shapley's. *values*: predictors enter with their raw values and the model is
asked again, missing ones taken from background patients; this differs also by how trees take what is unknown.
"""

import argparse
import json
from collections.abc import Callable

import numpy as np

from features.cohort import Cohort, concatenate
from features.dictionary import FloatArray
from features.endpoints import ENDPOINTS
from features.protocol import load_protocol
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from models.bundle.bundle import strata
from models.estimators.curves import IntArray
from models.estimators.links import LINKS
from models.estimators.transforms import probabilities
from models.explanation.attribution import ExactExplainer, divide
from models.explanation.background import Background, fit_background
from tests.lib.completions import complete_rows
from training.fit import fit_models, read_outcomes
from training.plan import TrainingPlan
from training.split import split_by_patient

AT = np.array([24.0])
PATIENTS, PERMUTATIONS = 25, 400


def explained() -> list[tuple[ExactExplainer, FloatArray]]:
    """Fit on four fifths of the cohorts; return each disease's explainer and some of the last fifth.

    Of patients with unknown values one plausible complete row is taken.
    """
    study, plan = load_protocol("relapse-survival"), TrainingPlan()
    cohort: Cohort = concatenate([build_cohort(load_recipe(name)) for name in study.cohorts])
    outcome, stratum = read_outcomes(cohort, study), strata(cohort, study.diseases)
    split = split_by_patient(stratum, outcome["overall_survival"], folds=5, seed=plan.seed)
    train, test = split.parts()[0]
    known = {name: found.take(train) for name, found in outcome.items()}
    fitted = fit_models(cohort.take(train), known, protocol=study, plan=plan)
    model = fitted.endpoints["overall_survival"].model.tabulated()
    link, fields = LINKS[ENDPOINTS["overall_survival"].link], fitted.encoder.dictionary.fields
    place, learned = fitted.encoder.dictionary.names.index("disease"), fitted.completion
    patients = learned.complete_cohort(cohort.take(train))
    background = fit_background(model, link, patients, stratum[train], AT, size=plan.background)
    rows = np.flatnonzero(test)[:: max(1, int(test.sum()) // PATIENTS)][:PATIENTS]
    X = learned.complete_cohort(cohort.take(rows)).one_each()
    found = []
    for at, disease in enumerate(study.diseases):
        owner = np.array([p if fields[p].applies(disease) else place for p in fitted.encoder.owners()])
        explainer = ExactExplainer(model, link, background.of(at), owner, len(fields), place)
        found.append((explainer, X[stratum[rows] == at]))
    return found


def sampled(
    worth: Callable[[FloatArray], FloatArray], players: int, background: Background, rng: np.random.Generator
) -> FloatArray:
    """Return Shapley values by permutations; ``worth`` gives each background patient's worth of each set.

    It takes known predictors, shape (sets, players) of 0 and 1, and returns (sets, background patients).
    """
    values = np.zeros(players)
    for _ in range(PERMUTATIONS // 2):
        order = rng.permutation(players)
        for way in (order, order[::-1]):
            sets = np.tril(np.ones((players + 1, players)), -1)[:, np.argsort(way)]
            along = worth(sets) @ background.weights
            values[way] += np.diff(along)
    return values / PERMUTATIONS


def game_of_shares(explainer: ExactExplainer, x: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the game in which predictors enter with their shares of the scores."""
    model, background = explainer.model, explainer.background

    def shares(X: FloatArray, strata: IntArray) -> tuple[FloatArray, FloatArray]:
        scores = np.empty((len(X), model.transform.scores))
        found = np.empty((*scores.shape, explainer.predictors))
        columns, owner, disease = model.tree_contributions(X), explainer.owner, explainer.disease
        divide(columns, X, strata, model.sums_about_expected, owner, disease, scores, found)
        return scores, found

    (_, own), (start, theirs) = shares(x, background.strata[:1]), shares(background.X, background.strata)

    def worth(sets: FloatArray) -> FloatArray:
        moved = start + np.einsum("kp,bsp->kbs", sets, own - theirs)
        flat = moved.reshape(-1, moved.shape[-1])
        return probabilities(model.transform, flat, AT)[:, 0, 0].reshape(len(sets), -1)

    return worth


def game_of_values(explainer: ExactExplainer, x: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the game in which predictors enter with their values, others are a background patient's."""
    model, background = explainer.model, explainer.background

    def worth(sets: FloatArray) -> FloatArray:
        columns = (sets[:, explainer.owner] > 0.0)[:, None]
        X = np.where(columns, x, background.X).reshape(-1, x.shape[1])
        disease = np.tile(background.strata, len(sets))
        return model.predict(X, disease, AT)[:, 0, 0].reshape(len(sets), -1)

    return worth


def ranks(values: FloatArray) -> FloatArray:
    return np.argsort(np.argsort(values)).astype(np.float64)


def figures() -> dict[str, float]:
    """Return rank correlation and mean absolute difference against both games."""
    by_disease, rng = explained(), np.random.default_rng(0)
    ours = np.vstack([
        explainer.explain(complete_rows(X, explainer.predictors), AT).contributions[:, 0, 0, 0]
        for explainer, X in by_disease
    ])  # fmt: skip
    found: dict[str, float] = {"patients": float(len(ours)), "mean_size": float(np.abs(ours).mean())}
    for name, game in (("shares", game_of_shares), ("values", game_of_values)):
        theirs = np.stack([
            sampled(game(explainer, x[None]), ours.shape[1], explainer.background, rng)
            for explainer, X in by_disease
            for x in X
        ])  # fmt: skip
        alike = [np.corrcoef(ranks(a), ranks(b))[0, 1] for a, b in zip(ours, theirs, strict=True)]
        found |= {
            f"{name}_rank_correlation": float(np.mean(alike)),
            f"{name}_mean_difference": float(np.abs(ours - theirs).mean()),
            f"{name}_largest_difference": float(np.abs(ours - theirs).max()),
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(json.dumps(figures(), indent=None if options.json else 1))  # noqa: T201
