"""Comparison: one patient under several plans, outcomes and harms side by side.

What differs between two answers is an association: such patients who had the one plan did so much better or
worse than such patients who had the other, for whatever reason they had it. Where no training patient of the
disease had a plan there is nothing to say, and nothing is said.

The interval of a difference allows for what the two answers have in common: on the link's scale its standard
error is the model's own at the mean distance, times the distance between the two plans' columns alone (the
leverage of their difference), as models/uncertainty.py has it for one answer. Assumption: as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import COMPETING_RISKS, SURVIVAL
from features.errors import InvalidRequest, Problem
from models.bundle import ModelBundle
from models.curves import IntArray
from models.fitted import NO_TIME, FittedEndpoint

MOST_PLANS = 10
FEW = 10
LEVEL = 0.9
HARMS = ("grade_3_toxicity", "treatment_related_death")
NOTICE = (
    "Differences are associations in the training cohorts, where patients were chosen for their treatment. "
    "They are not the effect of choosing one plan over another."
)


@dataclass(frozen=True)
class PlanOutcome:
    """One probability under one plan, and how it differs from that under the first plan that is answered.

    ``difference`` is in probability; None for the plan that the others are compared with. ``direction`` is
    benefit where more of it is better, harm where less is.
    """

    endpoint: str
    outcome: str
    label: str
    direction: str
    horizon: float | None
    probability: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True)
class PlanAnswer:
    """One plan: how many training patients of the disease had it, and what is said; or why nothing is."""

    plan: Mapping[str, object]
    support: int
    refused: str | None
    caution: str | None
    outcomes: tuple[PlanOutcome, ...]


@dataclass(frozen=True)
class Comparison:
    """Every plan in the order asked; ``compared_with`` is the place of the plan that differences are from."""

    plans: tuple[PlanAnswer, ...]
    compared_with: int | None
    notice: str


def compare(
    bundle: ModelBundle, patient: Mapping[str, object], plans: Sequence[Mapping[str, object]]
) -> Comparison:
    """Answer for one patient under each plan.

    Raises:
        InvalidRequest: naming everything wrong with the patient and the plans.

    """
    rows = _encoded(bundle, patient, plans)
    disease = str(patient["disease"])
    support = [bundle.plans.support(disease, plan) for plan in plans]
    answered = [at for at, count in enumerate(support) if count]
    first = answered[0] if answered else None
    return Comparison(
        tuple(
            PlanAnswer(
                plan,
                count,
                None if count else "no training patient of this disease had this plan",
                f"only {count} training patients of this disease had this plan" if 0 < count < FEW else None,
                ()
                if first is None or not count
                else _outcomes(bundle, disease, rows[at], rows[first], at != first),
            )
            for at, (plan, count) in enumerate(zip(plans, support, strict=True))
        ),
        first,
        NOTICE,
    )


@dataclass(frozen=True)
class _Row:
    X: FloatArray
    strata: IntArray


def _encoded(
    bundle: ModelBundle, patient: Mapping[str, object], plans: Sequence[Mapping[str, object]]
) -> list[_Row]:
    """Encode the patient with each plan, judging all of them together."""
    names, problems, rows = bundle.plans.names, list[Problem](), list[_Row]()
    if not 1 <= len(plans) <= MOST_PLANS:
        problems.append(Problem("plans", f"are {len(plans)}", f"give 1 to {MOST_PLANS} plans"))
    if not names:
        remedy = "choose a model with a plan among its predictors"
        problems.append(Problem("model", "knows no plans", remedy))
    problems += _faults(bundle, patient)
    bare = {name: value for name, value in patient.items() if name not in names}
    for at, plan in enumerate(plans, start=1):
        problems += [
            Problem(f"plans[{at}].{name}", "is no element of a plan here", "use " + ", ".join(names))
            for name in plan
            if names and name not in names
        ]
        try:
            cohort = bundle.validate({**bare, **{n: v for n, v in plan.items() if n in names}})
            rows.append(_Row(bundle.encoder.encode(cohort), bundle.strata(cohort)))
        except InvalidRequest as error:
            problems += [_placed(problem, plan, at) for problem in error.problems]
    if problems:
        raise InvalidRequest("request", list(dict.fromkeys(problems)))
    return rows


def _faults(bundle: ModelBundle, patient: Mapping[str, object]) -> tuple[Problem, ...]:
    """Return what is wrong with the patient as given, with a plan that the plans take the place of."""
    try:
        bundle.validate(patient)
    except InvalidRequest as error:
        return tuple(error.problems)
    return ()


def _placed(problem: Problem, plan: Mapping[str, object], at: int) -> Problem:
    """Say of which plan a problem is."""
    if problem.field not in plan:
        return problem
    return Problem(f"plans[{at}].{problem.field}", problem.problem, problem.remedy)


def _outcomes(
    bundle: ModelBundle, disease: str, row: _Row, first: _Row, differs: bool
) -> tuple[PlanOutcome, ...]:
    return tuple(
        outcome
        for endpoint in bundle.endpoints
        if endpoint.answers(disease)
        for outcome in _of_endpoint(endpoint, disease, row, first, differs)
    )


def _of_endpoint(
    endpoint: FittedEndpoint, disease: str, row: _Row, first: _Row, differs: bool
) -> list[PlanOutcome]:
    months = endpoint.explainable(disease)
    times = np.array(months) if months else NO_TIME
    middle = endpoint.probabilities(row.X, row.strata, times)[0]
    low, high = (bound[0] for bound in endpoint.intervals.interval(row.X, row.strata, times, level=LEVEL))
    from_first = np.full((3, *middle.shape), np.nan)
    if differs:
        from_first = _difference(endpoint, row, first, times)
    return [
        PlanOutcome(
            endpoint.endpoint.name,
            name,
            endpoint.endpoint.labels[name],
            direction(endpoint, name),
            months[at] if months else None,
            float(middle[o, at]),
            float(low[o, at]),
            float(high[o, at]),
            *(float(part[o, at]) if differs else None for part in from_first),
        )
        for o, name in enumerate(endpoint.model.outcomes)
        for at in range(len(times))
    ]


def direction(endpoint: FittedEndpoint, outcome: str) -> str:
    """Tell whether more of an outcome is a benefit (survival, response) or a harm.

    Harms are toxicity, death from treatment, and the events of competing risks.
    """
    if endpoint.endpoint.kind == SURVIVAL:
        return "benefit"
    return "harm" if endpoint.endpoint.kind == COMPETING_RISKS or outcome in HARMS else "benefit"


def _difference(endpoint: FittedEndpoint, row: _Row, first: _Row, times: FloatArray) -> FloatArray:
    """Return the difference from the first plan and its ends, shape (3, outcomes, times)."""
    ours = endpoint.probabilities(row.X, row.strata, times)
    theirs = endpoint.probabilities(first.X, first.strata, times)
    reach = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0) * endpoint.intervals.errors_between(row.X, first.X)
    ends = np.stack([ours, *(endpoint.intervals.moved(ours, way * reach) for way in (-1.0, 1.0))]) - theirs
    found: FloatArray = np.stack([ours - theirs, ends.min(axis=0), ends.max(axis=0)])[:, 0]
    return found
