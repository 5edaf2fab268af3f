"""An explanation at several horizons: what matters early, what late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.errors import InvalidRequest, Problem
from models.bundle.bundle import ModelBundle
from models.prediction import Caution, ExplainedScale, Explanation, Prediction, Typical


@dataclass(frozen=True)
class Timeline:
    """One outcome's explanations, in the order of their horizons; one for an outcome without time.

    ``restricted_means`` explains, of survival, the restricted mean up to each horizon, in the same order.
    """

    endpoint: str
    outcome: str
    label: str
    explanations: tuple[Explanation, ...]
    restricted_means: tuple[ExplainedScale, ...]


@dataclass(frozen=True)
class Explanations:
    """Every outcome's timeline; ``typical``, ``warnings`` and ``notice`` are those of a prediction."""

    timelines: tuple[Timeline, ...]
    typical: Typical
    warnings: tuple[Caution, ...]
    notice: str


def explain_over_time(
    bundle: ModelBundle, patient: Mapping[str, object], horizons: Sequence[float]
) -> Explanations:
    """Explain every outcome of a patient at each horizon; without horizons at all that are supported.

    An endpoint that is not supported as far as a horizon is left out at that one.

    Raises:
        InvalidRequest: naming every field and horizon at fault.

    """
    cohort = bundle.validate(patient)
    supported = bundle.explainable(str(patient["disease"]))
    problems = [
        Problem("horizons", f"{wanted:g} cannot be explained in this disease", _expected(supported))
        for wanted in horizons
        if wanted not in supported
    ]
    if problems:
        raise InvalidRequest("request", problems)
    wanted = tuple(dict.fromkeys(horizons)) or supported or (None,)
    predictions = [bundle.predict(cohort, horizon=horizon) for horizon in wanted]
    means = [bundle.explained_means(cohort, prediction) for prediction in predictions]
    first = predictions[0]
    timelines = tuple(
        Timeline(
            endpoint.endpoint,
            outcome.outcome,
            outcome.label,
            _explanations(predictions, at, place, wanted),
            tuple(
                explained[endpoint.endpoint]
                for explained, prediction, horizon in zip(means, predictions, wanted, strict=True)
                if endpoint.endpoint in explained
                and prediction.endpoints[at].outcomes[place].explanation.horizon == horizon
            ),
        )
        for at, endpoint in enumerate(first.endpoints)
        for place, outcome in enumerate(endpoint.outcomes)
    )
    return Explanations(timelines, first.typical, first.warnings, first.notice)


def _explanations(
    predictions: Sequence[Prediction], at: int, place: int, wanted: Sequence[float | None]
) -> tuple[Explanation, ...]:
    """Return an outcome's explanations at the horizons it is supported at, without repeats."""
    explanations = [prediction.endpoints[at].outcomes[place].explanation for prediction in predictions]
    if explanations[0].horizon is None:
        return (explanations[0],)
    return tuple(one for one, horizon in zip(explanations, wanted, strict=True) if one.horizon == horizon)


def _expected(supported: Sequence[float]) -> str:
    months = ", ".join(f"{h:g}" for h in supported)
    return f"expected some of {months} months" if months else "leave them out: no answer here has a time"
