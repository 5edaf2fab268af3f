"""Comparison: one patient under several plans, outcomes and harms side by side.

What differs between two answers is an association: such patients who had the one plan did so much better or
worse than such patients who had the other, for whatever reason they had it. Where no training patient of the
disease had a plan the plan is refused.

What is not known of the patient is the same under every plan: it is drawn given all that is known but the
plan, as else each plan would be answered for the patients who tend to have it.

The interval of a difference allows for what the two answers have in common: on the link's scale its standard
error is the model's own at the mean distance, times the distance between the two plans' columns alone (the
leverage of their difference), as models/uncertainty/intervals.py has it for one answer. Assumption: as
there; the coverage of these intervals was not measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist

import numpy as np

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import InvalidRequest, Problem
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle
from models.estimators.interface import NO_TIME
from models.patient.completion import Completions
from models.prediction import Caution, EndpointPrediction, Typical

MOST_PLANS = 10
FEW = 10
LEVEL = 0.9
NOTICE = (
    "Differences are associations in the training cohorts, where patients were chosen for their treatment. "
    "They are not the effect of choosing one plan over another."
)


@dataclass(frozen=True)
class PlanOutcome:
    """One probability under one plan, and how it differs from that under the first plan that is answered.

    Without a probability there is the ``reason``. ``difference`` is in probability; None for the plan that
    the others are compared with. ``direction`` is benefit where more of it is better, harm where less is.
    """

    endpoint: str
    outcome: str
    label: str
    direction: str
    horizon: float | None
    probability: float | None
    low: float | None
    high: float | None
    reason: str | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True)
class PlanAnswer:
    """One plan: how many training patients of the disease had it, and the answer; or why nothing is.

    ``typical`` and ``warnings`` are those of a prediction for the patient with this plan.
    """

    plan: Mapping[str, object]
    support: int
    refused: str | None
    caution: str | None
    outcomes: tuple[PlanOutcome, ...]
    typical: Typical | None
    warnings: tuple[Caution, ...]


@dataclass(frozen=True)
class Planned:
    """The patient with one plan, and plausible complete rows; what is not known is the same in every plan."""

    cohort: Cohort
    completed: Completions


@dataclass(frozen=True)
class Comparison:
    """Every plan in the order given; ``compared_with`` is the place of the plan that differences are from."""

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
    bare, cohorts = _validated(bundle, patient, plans)
    patients = [
        Planned(one, bundle.completion.complete_under(bundle.plans.names, one, bare)) for one in cohorts
    ]
    support = [bundle.plans.support(str(patient["disease"]), plan) for plan in plans]
    first = next((at for at, count in enumerate(support) if count), None)
    each = zip(plans, support, patients, strict=True)
    return Comparison(
        tuple(
            _answer(bundle, plan, count, planned, None if first in (None, at) else patients[first])
            for at, (plan, count, planned) in enumerate(each)
        ),
        first,
        NOTICE,
    )


def _answer(
    bundle: ModelBundle, plan: Mapping[str, object], support: int, patient: Planned, first: Planned | None
) -> PlanAnswer:
    """Answer for the patient with one plan; ``first`` is the patient with the plan it is compared with."""
    if not support:
        refused = "no training patient of this disease had this plan"
        return PlanAnswer(plan, support, refused, None, (), None, ())
    few = f"only {support} training patients of this disease had this plan" if support < FEW else None
    answer = bundle.predict(patient.cohort, completed=patient.completed)
    outcomes = chain.from_iterable(_outcomes(bundle, one, patient, first) for one in answer.endpoints)
    return PlanAnswer(plan, support, None, few, tuple(outcomes), answer.typical, answer.warnings)


def _validated(
    bundle: ModelBundle, patient: Mapping[str, object], plans: Sequence[Mapping[str, object]]
) -> tuple[Cohort, list[Cohort]]:
    """Return the patient without a plan and with each, judging all of them together."""
    names, problems, patients = bundle.plans.names, list[Problem](), list[Cohort]()
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
            patients.append(bundle.validate({**bare, **{n: v for n, v in plan.items() if n in names}}))
        except InvalidRequest as error:
            problems += [_placed(problem, plan, at) for problem in error.problems]
    if problems:
        raise InvalidRequest("request", list(dict.fromkeys(problems)))
    return bundle.validate(bare), patients


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
    bundle: ModelBundle, answer: EndpointPrediction, patient: Planned, first: Planned | None
) -> Iterator[PlanOutcome]:
    """Yield an endpoint's answers, each probability with its difference from the first plan."""
    endpoint = bundle.endpoint(answer.endpoint)
    months = endpoint.explainable(str(patient.cohort.text("disease")[0])) or (None,)
    apart = None if first is None else _difference(bundle, endpoint, patient, first, months)
    for place, outcome in enumerate(answer.outcomes):
        for at in outcome.probabilities:
            difference: list[float | None] = [None] * 3
            if apart is not None and at.probability is not None:
                difference = apart[:, place, months.index(at.horizon)].tolist()
            yield PlanOutcome(
                answer.endpoint,
                outcome.outcome,
                outcome.label,
                "harm" if endpoint.endpoint.harmful(outcome.outcome) else "benefit",
                at.horizon,
                at.probability,
                at.low,
                at.high,
                at.reason,
                *difference,
            )


def _difference(
    bundle: ModelBundle,
    endpoint: FittedEndpoint,
    patient: Planned,
    first: Planned,
    months: Sequence[float | None],
) -> FloatArray:
    """Return the difference from the first plan and its ends, shape (3, outcomes, times)."""
    times, strata = NO_TIME if months[0] is None else np.array(months), bundle.strata(patient.cohort)
    X, other = (bundle.encoder.encode(one.cohort) for one in (patient, first))
    ours, theirs = (
        bundle.completed_probabilities(one.completed, strata, endpoint.endpoint.name, times)
        for one in (patient, first)
    )
    errors = endpoint.intervals.errors_between(X, other, strata, times)
    reach = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0) * errors
    ends = np.stack([ours, *(endpoint.intervals.moved(ours, way * reach) for way in (-1.0, 1.0))]) - theirs
    difference: FloatArray = np.stack([ours - theirs, ends.min(axis=0), ends.max(axis=0)])[:, 0]
    return difference
