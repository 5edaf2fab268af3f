"""The gate: what a model must show on held-out patients before it may be served."""

from dataclasses import dataclass

from training.evaluate import COX, EVERYONE, KAPLAN_MEIER, MODEL, Evaluation


@dataclass(frozen=True)
class Verdict:
    """Whether a model may become champion, and every rule it broke."""

    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether no rule was broken."""
        return not self.failures


def judge(evaluation: Evaluation) -> Verdict:
    """Hold the model to the baselines in every disease.

    Uno's C must reach the plain Cox regression's, and the integrated Brier score must be below
    Kaplan-Meier's.
    """
    failures = []
    for group, models in evaluation.by_group.items():
        if group == EVERYONE:
            continue
        concordance, cox = models[MODEL]["uno_c"].value, models[COX]["uno_c"].value
        if not concordance >= cox:
            failures.append(f"{group}: Uno's C {concordance:.4f} is below the Cox baseline's {cox:.4f}")
        error, kaplan_meier = (
            models[MODEL]["integrated_brier"].value,
            models[KAPLAN_MEIER]["integrated_brier"].value,
        )
        if not error < kaplan_meier:
            failures.append(
                f"{group}: integrated Brier {error:.4f} is not below Kaplan-Meier's {kaplan_meier:.4f}"
            )
    return Verdict(tuple(failures))
