"""The report: figures and the model card, made from one evaluation."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from features.censoring import Outcome
from features.cohort import Cohort
from features.protocol import StudyProtocol
from models.bundle import SURVIVAL, ModelBundle
from models.card import ModelCard
from models.curves import kaplan_meier
from models.explanation import METHOD
from training.evaluate import EVERYONE, MODEL, Evaluation
from training.metrics import restricted_mean_risk
from training.plan import TrainingPlan

RISK_GROUPS = ("lowest third of risk", "middle third", "highest third")
EXPLAINED_PATIENTS = 300
LIMITATIONS = (
    "Validated by cross-validation inside the training cohorts; no other hospital's patients were used.",
    "A patient's own probability carries no interval; the intervals shown are those of the cohort's metrics.",
    "Missing values are taken as unknown; nobody checked why they are missing.",
    "Contributions describe the model, not causes: changing a predictor need not change the outcome.",
)


def model_card(
    cohort: Cohort, outcome: Outcome, evaluation: Evaluation, *, protocol: StudyProtocol, plan: TrainingPlan
) -> ModelCard:
    """Fill the card from the protocol, the cohort and the held-out evaluation."""
    selection = tuple(statement for source in cohort.provenance for statement in source.selection)
    missing = {
        field.label: round(float(np.isnan(cohort.values[field.name]).mean()), 4)
        for field in cohort.dictionary.slice(protocol.predictors).fields
    }
    return ModelCard(
        name=protocol.model_name if cohort.evidence == "real" else f"{protocol.model_name}-synthetic",
        title=protocol.title,
        evidence=cohort.evidence,
        intended_use=protocol.intended_use,
        out_of_scope=protocol.out_of_scope,
        index_event=protocol.index_event,
        endpoint=protocol.endpoint,
        horizons=protocol.horizons,
        method=(
            "Discrete-time hazards: the mean log odds of ridge-penalised Cox scores, stratified by disease, "
            "of trees boosted from them and of trees boosted freely, cross-fitted and weighted by held-out "
            f"likelihood. Explanations: {METHOD}."
        ),
        cohorts=tuple(source.as_dict() for source in cohort.provenance),
        patients=len(cohort),
        events=int(outcome.event.sum()),
        missing=missing,
        performance={
            "design": (
                f"{plan.evaluation_folds}-fold cross-validation by patient; "
                "95 % bootstrap intervals over patients"
            ),
            "groups": evaluation.as_dict(),
        },
        limitations=selection + LIMITATIONS,
        caution="An association in the training cohorts, not the effect of any treatment.",
    )


def survival_by_risk_group(evaluation: Evaluation) -> Figure:
    """Draw predicted and observed survival of held-out patients in thirds of predicted risk."""
    held_out = evaluation.held_out
    curves = held_out.curves[MODEL]
    figure, axes = _panel(
        "Held-out survival by predicted risk", "Months from first relapse", "Survival probability"
    )
    thirds = np.array_split(np.argsort(restricted_mean_risk(curves, held_out.times), kind="stable"), 3)
    for at, (name, rows) in enumerate(zip(RISK_GROUPS, thirds, strict=True)):
        times, observed = kaplan_meier(held_out.outcome.take(rows))
        shown = times <= held_out.times[-1]
        axes.step(times[shown], observed[shown], where="post", color=f"C{at}", label=f"{name}: observed")
        axes.plot(held_out.times, curves[rows].mean(axis=0), "--", color=f"C{at}", label=f"{name}: predicted")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8)
    return figure


def calibration_plot(evaluation: Evaluation) -> Figure:
    """Draw predicted against observed risk at each horizon, everyone and each disease."""
    groups = evaluation.calibrations
    figure = Figure(figsize=(4.2 * len(groups), 4.2), layout="constrained")
    for at, (group, fits) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(1, len(groups), at)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for fit in fits:
            label = f"{fit.horizon:g} months (ICI {fit.ici:.3f})"
            axes.plot(fit.predicted, fit.observed, "o-", markersize=4, label=label)
        name = "everyone" if group == EVERYONE else group.replace("_", " ")
        axes.set(
            title=f"Calibration: {name}",
            xlabel="Predicted risk of death",
            ylabel="Observed risk (Kaplan-Meier)",
        )
        axes.legend(fontsize=8)
    return figure


def shap_summary(bundle: ModelBundle, cohort: Cohort) -> Figure:
    """Draw the contributions to survival probability of a spread of training patients."""
    import shap  # noqa: PLC0415  takes seconds to load and is needed for this figure alone
    from matplotlib import pyplot as plt  # noqa: PLC0415  shap draws on pyplot's current figure

    every = max(1, len(cohort) // EXPLAINED_PATIENTS)
    patients = [cohort.take(np.array([row])) for row in range(0, len(cohort), every)]
    scales = [
        next(s for s in bundle.predict(patient).explanation.scales if s.scale == SURVIVAL)
        for patient in patients
    ]
    values = np.array([[c.contribution for c in scale.contributions] for scale in scales])
    data = np.array([[float(p.values[f.name][0]) for f in bundle.dictionary.fields] for p in patients])
    plt.switch_backend("agg")
    figure = plt.figure()
    shap.summary_plot(
        values,
        features=data,
        feature_names=[field.label for field in bundle.dictionary.fields],
        max_display=len(bundle.dictionary.fields),
        show=False,
        rng=np.random.default_rng(0),
    )
    axis = figure.axes[0]
    axis.set_xlabel(f"Contribution to the probability of living {bundle.protocol.explained_horizon:g} months")
    figure.set_layout_engine("tight")
    plt.close(figure)
    return figure


def _panel(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes
