"""Sample size: whether a cohort can carry a prediction model, asked before it is fitted.

Three criteria, the largest of which counts: predictor effects shrink by no more than a tenth when overfitting
is allowed for; Nagelkerke's R² looks no more than 0.05 better than it is; the overall risk is known within
0.05 either way. They are about a regression without penalty; a penalty softens a shortage and trees, which
choose among many cut-offs, worsen it. Unless stated otherwise the model is expected to explain 15 % of what
could be explained, which is Riley's advice where nothing better is known.

Source: Riley et al., BMJ 2020;368:m441 and Statistics in Medicine 2019;38:1276-1296.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.censoring import Outcome, restrict
from features.endpoints import BinaryOutcome, CompetingOutcome
from models.estimators.competing import CAUSES, cause_specific

SHRINKAGE = 0.9
OPTIMISM = 0.05
MARGIN = 0.05
EXPLAINED_SHARE = 0.15
FEW_EVENTS_PER_PARAMETER = 10.0
OVERFITTING, OPTIMISTIC_FIT, OVERALL_RISK = "overfitting", "optimistic_fit", "overall_risk"
MEANING: Mapping[str, str] = {
    OVERFITTING: "so that predictions are not too extreme (shrinkage of 0.9 or more)",
    OPTIMISTIC_FIT: "so that the fit does not look better than it is (R² within 0.05)",
    OVERALL_RISK: "so that the average risk is known within 5 percentage points",
}


@dataclass(frozen=True)
class SampleSize:
    """What a cohort has, and how many patients each criterion needs.

    ``parameters`` counts the columns of the encoder's matrix, not the predictors. ``events`` are those that
    carry information: for a response the rarer of yes and no. ``needed`` is empty where nothing can be
    said, which ``warnings`` then explains.
    """

    patients: int
    events: int
    parameters: int
    needed: Mapping[str, int]

    @property
    def events_per_parameter(self) -> float | None:
        """Return the events for each candidate parameter, None without parameters."""
        return self.events / self.parameters if self.parameters else None

    @property
    def enough(self) -> bool:
        """Tell whether every criterion is met."""
        return bool(self.needed) and self.patients >= max(self.needed.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say in plain words what is short, what that means and what to do."""
        if not self.needed:
            return (
                f"The {self.patients:,} patients all ended alike, with the event or without it, so nothing "
                "can be learned. Add patients or follow-up, or choose another endpoint.",
            )
        short = {name: size for name, size in self.needed.items() if self.patients < size}
        statements = [
            f"{size:,} patients are needed {MEANING[name]}, and there are {self.patients:,}."
            for name, size in short.items()
        ]
        if short:
            statements.append(
                "Read single predictions with caution, weigh the model against its penalised baseline, and "
                f"{self._remedy()}."
            )
        per_parameter = self.events_per_parameter
        if per_parameter is not None and per_parameter < FEW_EVENTS_PER_PARAMETER:
            statements.append(
                f"There are {per_parameter:.1f} events for each of {self.parameters} parameters: "
                "the penalty, more than the data, decides the effects of rare categories. Join categories or "
                "drop predictors."
            )
        return tuple(statements)

    def as_dict(self) -> dict[str, Any]:
        return {
            "patients": self.patients,
            "events": self.events,
            "parameters": self.parameters,
            "events_per_parameter": self.events_per_parameter,
            "needed": dict(self.needed),
            "enough": self.enough,
            "warnings": list(self.warnings),
        }

    def _remedy(self) -> str:
        by_parameters = max(self.needed[OVERFITTING], self.needed[OPTIMISTIC_FIT])
        affordable = self.parameters * self.patients // max(by_parameters, 1)
        if affordable >= self.parameters:
            return "add patients"
        return f"add patients or keep to about {max(affordable, 1)} of the {self.parameters} parameters"


def for_survival(
    outcome: Outcome, parameters: int, horizon: float, *, explained_share: float = EXPLAINED_SHARE
) -> SampleSize:
    """Report on a time to an event, its risk looked at by ``horizon`` months.

    Follow-up beyond the horizon tells about predictors and not about the risk by then, for which a constant
    hazard up to the horizon is assumed.
    """
    events = int(outcome.event.sum())
    if not events:
        return SampleSize(len(outcome), 0, parameters, {})
    early = restrict(outcome, horizon=horizon)
    largest = largest_r2_of_times(events / len(outcome))
    needed = _by_parameters(parameters, r2=explained_share * largest, largest_r2=largest)
    rate, follow_up = early.event.sum() / early.duration.sum(), float(early.duration.mean())
    needed[OVERALL_RISK] = patients_for_rate(float(rate), follow_up=follow_up, horizon=horizon)
    return SampleSize(len(outcome), events, parameters, needed)


def for_response(
    outcome: BinaryOutcome, parameters: int, *, explained_share: float = EXPLAINED_SHARE
) -> SampleSize:
    """Report on a yes or no, among the patients in whom it is known."""
    patients = int(outcome.known.sum())
    yes = int((outcome.event & outcome.known).sum())
    rarer = min(yes, patients - yes)
    if not rarer:
        return SampleSize(patients, 0, parameters, {})
    share = yes / patients
    largest = largest_r2_of_share(share)
    needed = _by_parameters(parameters, r2=explained_share * largest, largest_r2=largest)
    return SampleSize(patients, rarer, parameters, needed | {OVERALL_RISK: patients_for_share(share)})


def for_competing(
    outcome: CompetingOutcome, parameters: int, horizon: float, *, explained_share: float = EXPLAINED_SHARE
) -> Mapping[str, SampleSize]:
    """Report on each cause's hazard, the other cause ending follow-up."""
    return {
        name: for_survival(
            cause_specific(outcome, cause), parameters, horizon, explained_share=explained_share
        )
        for cause, name in enumerate(CAUSES, start=1)
    }


def patients_for_shrinkage(parameters: int, *, r2: float, shrinkage: float = SHRINKAGE) -> int:
    """Return the patients needed for a given shrinkage of the effects, at an expected Cox-Snell R².

    >>> patients_for_shrinkage(24, r2=0.288)
    623
    """
    return math.ceil(parameters / ((shrinkage - 1.0) * math.log(1.0 - r2 / shrinkage)))


def patients_for_optimism(parameters: int, *, r2: float, largest_r2: float) -> int:
    """Return the patients needed for an optimism of 0.05 in Nagelkerke's R² (``r2 / largest_r2``)."""
    shrinkage = r2 / (r2 + OPTIMISM * largest_r2)
    return patients_for_shrinkage(parameters, r2=r2, shrinkage=shrinkage)


def patients_for_share(share: float) -> int:
    """Return the patients in whom a 95 % confidence interval of a share is within 0.05 either way.

    >>> patients_for_share(0.174)
    221
    """
    return math.ceil((1.96 / MARGIN) ** 2 * share * (1.0 - share))


def patients_for_rate(rate: float, *, follow_up: float, horizon: float) -> int:
    """Return the patients in whom the 95 % interval of the risk by a horizon is within 0.05 either way.

    ``rate`` is per unit of ``follow_up`` (the mean) and ``horizon``; the hazard is constant. The lower end
    lies further away than the upper one, so it decides unless the risk is too small to have one.
    """
    survived = math.exp(-rate * horizon)
    furthest = survived + MARGIN if survived + MARGIN < 1.0 else survived - MARGIN
    tolerated = abs(math.log(furthest / survived)) / horizon
    return math.ceil((1.96 / tolerated) ** 2 * rate / follow_up)


def largest_r2_of_share(share: float) -> float:
    """Return the largest possible Cox-Snell R² of a binary outcome.

    >>> round(largest_r2_of_share(0.5), 2)
    0.75
    """
    return 1.0 - math.exp(2.0 * (share * math.log(share) + (1.0 - share) * math.log(1.0 - share)))


def largest_r2_of_times(events_per_patient: float) -> float:
    """Return the largest possible Cox-Snell R² of times to an event (null model: a constant hazard).

    >>> round(largest_r2_of_times(0.065 * 2.07), 2)
    0.55
    """
    return 1.0 - math.exp(2.0 * events_per_patient * (math.log(events_per_patient) - 1.0))


def _by_parameters(parameters: int, *, r2: float, largest_r2: float) -> dict[str, int]:
    return {
        OVERFITTING: patients_for_shrinkage(parameters, r2=r2),
        OPTIMISTIC_FIT: patients_for_optimism(parameters, r2=r2, largest_r2=largest_r2),
    }
