"""Explanations by sampling, for a model that no exact method is known for.

A coalition's worth is the mean prediction over the weighted background of the disease, its predictors having
the patient's values; a patient with unknown values lends each background patient one plausible row. Shapley
values of this game are sampled by permutations, each run forwards and backwards (``shap``'s permutation
explainer), so contributions sum to the prediction exactly and each has a standard error. One seed serves
every patient, so the same patient gets the same contributions.

Source: Castro, Gomez and Tejada, Computers and Operations Research 2009;36:1726-1730; Mitchell et al., JMLR
2022;23:1-46 (antithetic permutations).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.interface import Model
from models.estimators.links import Link, on_both_scales
from models.explanation.attribution import Attributions, spread_over_unknown
from models.explanation.background import Background
from models.patient.completion import Completions

PERMUTATIONS, SEED = 20, 0
SAMPLED = (
    f"Shapley values sampled by {PERMUTATIONS} permutations run both ways, over weighted background patients "
    "whose mean prediction is that of the training patients with the disease; unknown values are averaged "
    "over what they plausibly are; the largest standard error is stated"
)
SHAP_DRAWS = Lock()
"""Held while shap draws from NumPy's global generator, which is put back as it was."""


@dataclass(frozen=True)
class SampledExplainer:
    """Explains any model in one disease; ``owner`` (columns,) says which of ``predictors`` a column shows."""

    model: Model
    link: Link
    background: Background
    owner: IntArray
    predictors: int
    disease: int
    method: str = SAMPLED

    def explain(self, patients: Completions, times: FloatArray) -> Attributions:
        """Explain patients one by one; raises NotExplained where contributions do not sum."""
        each = [self._explain_one(one, times) for one in patients.one_by_one()]
        strata = np.full(len(patients.X), self.background.strata[0])
        answers = patients.mean(np.clip(self.model.predict(patients.X, strata, times), 0.0, 1.0))
        prediction = on_both_scales(answers, self.link)
        contributions, errors = (np.stack(parts) for parts in zip(*each, strict=True))
        contributions = contributions.reshape(*prediction.shape, -1)
        reference, some = self.reference(times), patients.unknown.any(axis=1)
        missing = prediction[some] - contributions[some].sum(axis=-1) - reference
        even = spread_over_unknown(patients, np.zeros(patients.unknown.shape))[some, None, None, None]
        contributions[some] += missing[..., None] * even
        attributions = Attributions(prediction, reference, contributions, errors.reshape(prediction.shape))
        attributions.require_sums(self.model.outcomes, self.link.name)
        return attributions

    def reference(self, times: FloatArray) -> FloatArray:
        """Return the background's weighted mean answers, shape (2, outcomes, times)."""
        own = self.background
        both = on_both_scales(self.model.predict(own.X, own.strata, times), self.link)
        mean: FloatArray = np.tensordot(own.weights, both, axes=1)
        return mean

    def _explain_one(self, patient: Completions, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return contributions (answers, predictors), and the largest standard error by answer."""
        import shap  # noqa: PLC0415  takes seconds to load and serves these models alone

        rows = patient.X[np.arange(len(self.background)) % len(patient.X)]

        def worth(known: FloatArray) -> FloatArray:
            return np.stack([self._worth(row > 0.5, rows, times) for row in known])

        nobody = shap.maskers.Independent(np.zeros((1, self.predictors)))
        evaluations = PERMUTATIONS * (2 * self.predictors + 1)
        with _drawing():
            explainer = shap.PermutationExplainer(worth, nobody, seed=SEED)
            sampled = explainer(
                np.ones((1, self.predictors)), max_evals=evaluations, error_bounds=True, silent=True
            )
        return sampled.values[0].T, sampled.error_std[0].max(axis=0) / np.sqrt(2 * PERMUTATIONS)

    def _worth(self, known: BoolArray, rows: FloatArray, times: FloatArray) -> FloatArray:
        """Return the background's mean answers with known predictors as in one row each of the patient's."""
        own = self.background
        X = np.where(known[self.owner], rows, own.X)
        both = on_both_scales(self.model.predict(X, own.strata, times), self.link)
        mean: FloatArray = own.weights @ both.reshape(len(X), -1)
        return mean


@contextmanager
def _drawing() -> Iterator[None]:
    with SHAP_DRAWS:
        state = np.random.get_state()  # noqa: NPY002  shap draws from the global generator
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002  as above
