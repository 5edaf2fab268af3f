"""The gate: what a model must show on held-out patients before it may be served."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.evaluate import EndpointEvaluation, Evaluation
from training.kinds.interface import Requirement
from training.scoring import MODEL, Scores

NOTHING = "no figure can be compared with a baseline's"


@dataclass(frozen=True)
class GateVerdict:
    """Whether a model may become champion, and every rule it broke."""

    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether no rule was broken."""
        return not self.failures


def judge(evaluation: Evaluation) -> GateVerdict:
    """Hold every endpoint to its baselines.

    Survival, in every disease: Uno's C must reach the plain Cox regression's, and the integrated Brier score
    must be below Kaplan-Meier's. Response, in everyone, outcome by outcome: the area under the curve must
    reach the logistic regression's, and the Brier score must be below that of the disease's own share.
    Competing risks, in everyone, cause by cause: the same against cause-specific Cox regressions and
    Aalen-Johansen. An endpoint of which nothing can be compared was not shown to be good and fails.
    """
    return GateVerdict(
        tuple(
            f"{name}, {failure}"
            for name, evaluated in evaluation.endpoints.items()
            for failure in _failures_of(evaluated)
        )
    )


def _failures_of(evaluated: EndpointEvaluation) -> Iterator[str]:
    """Name every rule that an endpoint breaks, and that none could be applied."""
    required = list(evaluated.held_out.kind.requirements(evaluated.by_group))
    if not any(_comparable(requirement, evaluated.by_group) for requirement in required):
        yield NOTHING
    for requirement in required:
        yield from _failures(requirement, evaluated.by_group)


def _comparable(required: Requirement, by_group: Mapping[str, Scores]) -> bool:
    scores = by_group[required.group]
    compared = (scores[name][required.metric].value for name in (MODEL, required.baseline))
    return all(value is not None for value in compared)


def _failures(required: Requirement, by_group: Mapping[str, Scores]) -> Iterator[str]:
    """Name a metric that does not reach its baseline: at least as high, or truly lower.

    Where there is nothing to compare, as in a disease without a pair of patients, nothing is broken.
    """
    scores, metric, baseline = by_group[required.group], required.metric, required.baseline
    ours, theirs = scores[MODEL][metric].value, scores[baseline][metric].value
    if ours is None or theirs is None:
        return
    if not (ours >= theirs if required.higher else ours < theirs):
        wanted = "below" if required.higher else "not below"
        yield f"{required.subject}: {metric} {ours:.4f} is {wanted} {baseline}'s {theirs:.4f}"
