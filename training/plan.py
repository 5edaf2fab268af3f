"""The training plan: every setting of one fit, fixed before it starts."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a fit. The same cohort and plan give the same bundle, byte for byte.

    Models are cross-fitted in ``inner_folds``, ``repeats`` times over, a response at least three times.
    ``trials`` counts the settings tried for each survival model, the defaults first; 1 is no search.
    """

    seed: int = 20240
    evaluation_folds: int = 5
    inner_folds: int = 5
    repeats: int = 1
    bootstrap: int = 200
    background: int = 64
    smallest_at_risk: int = 10
    trials: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as parameters to log."""
        return asdict(self)
