"""What to find out next: how far each value that is not known of a patient could move the answer.

Plausible values of an unknown predictor given the rest of the patient are put in one after the other and the
model answers each. The answer moves much only where the value is uncertain and the model depends on it.

Assumption: values are unknown at random, so an unknown one is distributed as in training patients alike in
the rest. The change is that of the prediction, which is better informed afterwards; no test has an effect.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from features.dictionary import Field
from models.prediction import NextTest

HARDLY = 0.005
LOW, HIGH = 0.05, 0.95
HISTORY, TEST, PLAN = "history", "test", "plan"


@dataclass(frozen=True)
class Now:
    """The probability before anything is found out, and the outcome it is of in words."""

    answer: float
    outcome: str


def source_of(declared: Field) -> str:
    """Tell who can say an unknown value: a test to be done, the plan to be decided, or the history.

    Tests are the reassessment, what staging shows of the disease at relapse, and laboratory values of overall
    health: numbers with a LOINC code in a unit of amount per volume, activity or time.

    >>> from features.dictionary import load_dictionary
    >>> [source_of(load_dictionary()[name]) for name in ("deauville", "site_liver", "albumin", "age")]
    ['test', 'test', 'test', 'history']
    """
    laboratory = "loinc" in declared.codes and "/" in (declared.unit or "")
    if declared.group == "plan":
        return PLAN
    if (
        declared.group == "reassessment"
        or (declared.group == "disease" and declared.known == "index")
        or (declared.group == "overall_health" and laboratory)
    ):
        return TEST
    return HISTORY


def next_test(declared: Field, answers: Sequence[float], weights: Sequence[float], now: Now) -> NextTest:
    """Say what knowing a predictor would do, given the answers at its plausible values and their weights.

    The answers are moved together so that their mean is the answer now.
    """
    mean = sum(weight * answer for answer, weight in zip(answers, weights, strict=True))
    moved = [min(1.0, max(0.0, now.answer + answer - mean)) for answer in answers]
    low, high = _between(sorted(zip(moved, weights, strict=True)))
    change = sum(weight * abs(answer - mean) for answer, weight in zip(answers, weights, strict=True))
    words = _words(declared.label, change, (low, high), now)
    return NextTest(declared.name, declared.label, source_of(declared), change, low, high, words)


def _between(rising: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of answers with weights, sorted by answer."""
    up_to = list(accumulate(weight for _, weight in rising))
    last = len(rising) - 1
    low, high = (rising[min(bisect_left(up_to, at), last)][0] for at in (LOW, HIGH))
    return low, high


def _words(label: str, change: float, bounds: tuple[float, float], now: Now) -> str:
    low, high = (f"{bound:.0%}" for bound in bounds)
    if change < HARDLY:
        return f"{label}: knowing it would hardly move {now.outcome}, now {now.answer:.0%}."
    points = f"{100 * change:.0f} percentage point{'' if round(100 * change) == 1 else 's'}"
    return (
        f"{label}: knowing it would move {now.outcome}, now {now.answer:.0%}, by {points} on average; "
        f"in nine cases of ten it would then lie between {low} and {high}."
    )
