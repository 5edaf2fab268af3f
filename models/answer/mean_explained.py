"""The restricted mean explained: contributions to the probability at each month, added up under the curve.

The area under a curve drawn straight between months is a weighted sum of its heights, so contributions to the
heights, weighted alike, sum to the area.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from models.answer.endpoint_answer import REFERENCE, WHOLE, EndpointAnswer
from models.explanation.attribution import Attributions
from models.patient.completion import Completions
from models.prediction import Contribution, ExplainedScale, GroupContribution

RESTRICTED_MEAN = "restricted_mean"


def explained_mean(
    answer: EndpointAnswer, patient: Completions, values: Sequence[Any], months: float
) -> ExplainedScale:
    """Explain one patient's restricted mean of ``months``, as answered, in a survival endpoint.

    ``values`` are those of the predictors that have a meaning in the disease, None where unknown.

    Raises:
        NotExplained: as the explanation of a probability.

    """
    times, weights = under_curve(answer.months, float(answer.explained[0]))
    found = answer.explainer.explain(patient, times)
    contributions = _area(found.contributions[0, 0, 0].T, weights)
    own = float(weights[0] + found.prediction[0, 0, 0] @ weights[1:])
    references, whole = (
        float(weights[0] + reference[0, 0] @ weights[1:])
        for reference in (found.reference, answer.endpoint.whole_reference(answer.diseases, times))
    )
    fields = answer.endpoint.dictionary.fields
    applying = [at for at, field in enumerate(fields) if field.applies(answer.disease)]
    names = answer.endpoint.group_names
    group = np.where(patient.unknown[0], len(names) - 1, answer.endpoint.group)
    return ExplainedScale(
        scale=RESTRICTED_MEAN,
        unit=f"mean months of the first {times[-1]:g}: {answer.endpoint.endpoint.title.lower()}",
        prediction=months,
        reference=references,
        reference_name=REFERENCE,
        whole=whole,
        whole_name=WHOLE,
        coherence=months - own if answer.others else 0.0,
        standard_error=_largest_error(found, weights),
        contributions=tuple(
            Contribution(
                fields[at].name,
                fields[at].label,
                fields[at].group,
                value,
                fields[at].unit,
                float(contributions[at]),
            )
            for at, value in zip(applying, values, strict=True)
        ),
        groups=tuple(
            GroupContribution(name, float(contributions[group == at].sum())) for at, name in enumerate(names)
        ),
    )


def under_curve(months: FloatArray, horizon: float) -> tuple[FloatArray, FloatArray]:
    """Return the months up to a horizon, and the weights of the heights at 0 and there under a drawn curve.

    >>> under_curve(np.array([2.0, 4.0, 6.0]), 4.0)
    (array([2., 4.]), array([1., 2., 1.]))
    """
    times = np.append(months[months < horizon], horizon)
    steps = np.diff(np.append(0.0, times))
    weights = np.zeros(len(times) + 1)
    weights[:-1] += steps / 2.0
    weights[1:] += steps / 2.0
    return times, weights


def _area(heights: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted sums (predictors,) of contributions (predictors, times)."""
    area: FloatArray = heights @ weights[1:]
    return area


def _largest_error(found: Attributions, weights: FloatArray) -> float | None:
    """Return a bound on the standard error of the contributions, None where they are exact."""
    if found.standard_error is None:
        return None
    return float(found.standard_error[0, 0, 0] @ weights[1:])
