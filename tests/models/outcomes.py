"""Outcomes for tests: strategies with many ties, and samplers without any. Synthetic."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from sksurv.util import Surv

from features.censoring import Outcome
from features.dictionary import FloatArray


@st.composite
def tied_outcomes(draw: st.DrawFn, *, smallest: int = 1, largest: int = 30) -> Outcome:
    """Draw outcomes on few whole months, so that deaths and censorings coincide."""
    patients = draw(st.integers(smallest, largest))
    months = draw(st.lists(st.integers(1, 8), min_size=patients, max_size=patients))
    event = draw(st.lists(st.booleans(), min_size=patients, max_size=patients))
    return Outcome(np.array(months, dtype=np.float64), np.array(event))


def sample_outcome(rng: np.random.Generator, hazard: FloatArray, *, followed: float = 80.0) -> Outcome:
    """Sample constant hazards under uniform censoring, without ties."""
    death = rng.exponential(1.0 / hazard)
    censored = rng.uniform(1.0, followed, len(hazard))
    return Outcome(np.minimum(death, censored), death <= censored)


def structured(outcome: Outcome) -> npt.NDArray[Any]:
    """Return the outcome as scikit-survival takes it."""
    return Surv.from_arrays(outcome.event, outcome.duration)
