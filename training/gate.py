"""The gate: what a model must show on held-out patients before it may be served."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from features.endpoints import COMPETING_RISKS, RESPONSE
from training.baselines import AALEN_JOHANSEN, COX, KAPLAN_MEIER, LOGISTIC, PREVALENCE
from training.evaluate import EVERYONE, MODEL, EndpointEvaluation, Evaluation
from training.scoring import Estimate

Scores = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class Verdict:
    """Whether a model may become champion, and every rule it broke."""

    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether no rule was broken."""
        return not self.failures


def judge(evaluation: Evaluation) -> Verdict:
    """Hold every endpoint to its baselines.

    Survival, in every disease: Uno's C must reach the plain Cox regression's, and the integrated Brier score
    must be below Kaplan-Meier's. Response, in everyone, outcome by outcome: the area under the curve must
    reach the logistic regression's, and the Brier score must be below that of the disease's own share.
    Competing risks, in everyone, cause by cause: the same against cause-specific Cox regressions and
    Aalen-Johansen.
    """
    return Verdict(
        tuple(fault for name, found in evaluation.endpoints.items() for fault in _faults(name, found))
    )


def _faults(name: str, found: EndpointEvaluation) -> Iterator[str]:
    kind, outcomes = found.held_out.endpoint.kind, tuple(found.held_out.endpoint.labels)
    everyone = found.by_group[EVERYONE]
    if kind == RESPONSE:
        stated = {metric.partition(".")[0] for metric in everyone[MODEL]}
        for outcome in (o for o in outcomes if o in stated):
            yield from _compared(f"{name}, {outcome}", everyone, f"{outcome}.auc", LOGISTIC, higher=True)
            yield from _compared(f"{name}, {outcome}", everyone, f"{outcome}.brier", PREVALENCE, higher=False)
        return
    if kind == COMPETING_RISKS:
        for cause in outcomes:
            yield from _compared(f"{name}, {cause}", everyone, f"{cause}.c", COX, higher=True)
            yield from _compared(
                f"{name}, {cause}", everyone, f"{cause}.integrated_brier", AALEN_JOHANSEN, higher=False
            )
        return
    diseases = {group: scores for group, scores in found.by_group.items() if group != EVERYONE}
    for group, scores in (diseases or {EVERYONE: everyone}).items():
        yield from _compared(f"{name}, {group}", scores, "uno_c", COX, higher=True)
        yield from _compared(f"{name}, {group}", scores, "integrated_brier", KAPLAN_MEIER, higher=False)


def _compared(what: str, scores: Scores, metric: str, baseline: str, *, higher: bool) -> Iterator[str]:
    """Name a metric that does not reach its baseline: at least as high, or truly lower.

    Where there is nothing to compare, as in a disease without a pair of patients, nothing is broken.
    """
    ours, theirs = scores[MODEL][metric].value, scores[baseline][metric].value
    if ours is None or theirs is None:
        return
    if not (ours >= theirs if higher else ours < theirs):
        wanted = "below" if higher else "not below"
        yield f"{what}: {metric} {ours:.4f} is {wanted} {baseline}'s {theirs:.4f}"
