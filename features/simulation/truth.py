"""True survival and response of simulated patients, under their plan or another."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray
from features.dictionary import FloatArray
from features.simulation.arms import ArmCalibration, CalibratedArm
from features.simulation.curves import GRID
from features.simulation.prognosis import PrognosticIndex

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """The probabilities from which the patients' outcomes were drawn, given all their predictors.

    ``arm``, shape (patients,), holds the position in ``arms`` of each one's plan, -1 where the plan is for
    another disease and every probability NaN. ``place`` holds positions in ``places``, (disease, setting).
    """

    calibration: ArmCalibration
    arms: tuple[str, ...]
    arm: IntArray
    index: PrognosticIndex
    places: tuple[tuple[str, str], ...]
    place: IntArray

    def __len__(self) -> int:
        return len(self.arm)

    def true_survival(self, months: FloatArray) -> FloatArray:
        """Return the probability of being alive at each month (0 to 240), shape (patients, months)."""
        return self._survival(months, "death")

    def true_progression_free(self, months: FloatArray) -> FloatArray:
        """Return the probability of being alive without progression, shape (patients, months)."""
        return self._survival(months, "progression_free")

    def true_response(self) -> FloatArray:
        """Return the probabilities of complete and of any response, shape (patients, 2)."""
        answers = np.full((len(self), 2), np.nan)
        for rows, arm in self._groups():
            _, odds = self.index.take(rows).under(arm.evidence)
            answers[rows] = arm.response_probabilities(odds)
        return answers

    def under(self, plan_arm: str) -> "Truth":
        """Return the counterfactual truth under one arm's plan for every patient with its disease.

        It extrapolates to patients outside the arm's setting; :meth:`supported` tells who is within.

        Raises:
            NotFound: for an unknown arm.

        """
        disease = self.calibration.evidence.arm(plan_arm).disease
        same = np.array([where[0] == disease for where in self.places])[self.place]
        position = self.arms.index(plan_arm) if plan_arm in self.arms else len(self.arms)
        arms = self.arms if plan_arm in self.arms else (*self.arms, plan_arm)
        return replace(self, arms=arms, arm=np.where(same, position, -1))

    def supported(self, plan_arm: str) -> BoolArray:
        """Return, shape (patients,), who comes from the disease and setting in which the arm was studied.

        Raises:
            NotFound: for an unknown arm.

        """
        studied = self.calibration.evidence.arm(plan_arm)
        here = np.array([where == (studied.disease, studied.setting) for where in self.places])
        supported: BoolArray = here[self.place]
        return supported

    def take(self, rows: npt.NDArray[np.integer] | BoolArray) -> "Truth":
        """Return the truth of the patients in these rows."""
        return replace(self, arm=self.arm[rows], index=self.index.take(rows), place=self.place[rows])

    def _groups(self) -> list[tuple[IntArray, CalibratedArm]]:
        assigned = [at for at in np.unique(self.arm) if at >= 0]
        return [(np.flatnonzero(self.arm == at), self.calibration.arm(self.arms[at])) for at in assigned]

    def _survival(self, months: FloatArray, curve: str) -> FloatArray:
        times = np.asarray(months, dtype=np.float64)
        answers = np.full((len(self), times.size), np.nan)
        for rows, arm in self._groups():
            log_hazard, _ = self.index.take(rows).under(arm.evidence)
            hazard = np.interp(times, GRID, getattr(arm, curve))
            answers[rows] = np.exp(-np.multiply.outer(np.exp(log_hazard - arm.centre), hazard))
        return answers
