"""The gate: what a model must show on held-out patients before it may be served."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.evaluate import Evaluation
from training.kinds.interface import Requirement
from training.scoring import MODEL, Scores


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
    Aalen-Johansen.
    """
    return GateVerdict(
        tuple(
            f"{name}, {failure}"
            for name, evaluated in evaluation.endpoints.items()
            for requirement in evaluated.held_out.kind.requirements(evaluated.by_group)
            for failure in _failures(requirement, evaluated.by_group)
        )
    )


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
