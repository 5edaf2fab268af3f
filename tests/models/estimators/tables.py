"""Tables of made patients with known hazards, and the survival estimator that is quickly fitted on them."""

import numpy as np
import pandas as pd
from sksurv.util import Surv

from models.estimators.scikit import SurvivalEstimator

TIMES = np.array([0.5, 3.0, 6.0, 12.0, 24.0, 60.0])


def made(patients=300, *, seed=0):
    """Make a table with numbers, text, flags and missing values, and exponential times with known hazards."""
    rng = np.random.default_rng(seed)
    stage = rng.choice(["early", "late", "relapsed"], patients, p=[0.5, 0.3, 0.2])
    burden = rng.normal(size=patients)
    table = pd.DataFrame(
        {
            "burden": np.where(rng.random(patients) < 0.1, np.nan, burden),
            "noise": rng.normal(size=patients),
            "stage": pd.Categorical(stage),
            "fit": rng.random(patients) < 0.6,
        }
    )
    risk = 0.7 * burden + 0.8 * (stage == "late") + 1.2 * (stage == "relapsed")
    death = rng.exponential(1.0 / (0.03 * np.exp(risk)))
    end = rng.uniform(6.0, 72.0, patients)
    return table, np.minimum(death, end), death <= end, risk


def outcome(duration, event):
    """Return the outcome as scikit-survival takes it."""
    return Surv.from_arrays(event, duration)


def quick(**options):
    """Return the estimator that is fitted in a moment."""
    return SurvivalEstimator(**({"estimator": "cox", "folds": 3} | options))
