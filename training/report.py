"""The report: figures and the model card, made from one evaluation."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from features.cohort import Cohort
from features.encoder import Encoder
from features.endpoints import COMPETING_RISKS, ENDPOINTS, RESPONSE, SURVIVAL, outcome_events
from features.protocol import StudyProtocol
from models.bundle.bundle import ModelBundle
from models.bundle.card import ModelCard
from models.estimators.curves import kaplan_meier
from models.explanation.attribution import EXACT, PROBABILITY
from training.evaluate import EVERYONE, MODEL, EndpointEvaluation, Evaluation
from training.fit import Outcomes
from training.metrics import restricted_mean_risk
from training.plan import TrainingPlan
from training.sample_size import SampleSize, for_endpoint

RISK_GROUPS = ("lowest third of risk", "middle third", "highest third")
EXPLAINED_PATIENTS = 300
METHODS = {
    SURVIVAL: (
        "Discrete-time hazards: the mean log odds of ridge-penalised Cox scores, stratified by disease, of "
        "trees boosted from them and of trees boosted freely, cross-fitted and weighted by held-out "
        "likelihood."
    ),
    COMPETING_RISKS: "Such hazards for each cause, the others censoring; incidences and survival sum to one.",
    RESPONSE: (
        "Ridge-penalised logistic regression and trees boosted from it, cross-fitted and weighted by "
        "held-out likelihood; wider responses include narrower ones."
    ),
}
LIMITATIONS = (
    "Validated by cross-validation inside the training cohorts; no other hospital's patients were used.",
    "A patient's interval allows for the chance of sampling and fitting, not for an unlike cohort.",
    "Missing values are taken as unknown; nobody checked why they are missing.",
    "Contributions describe the model, not causes: changing a predictor need not change the outcome.",
)


def model_card(
    cohort: Cohort,
    outcomes: Outcomes,
    evaluation: Evaluation,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> ModelCard:
    """Fill the card from the protocol, the cohort and the held-out evaluation."""
    sizes = sample_sizes(cohort, outcomes, protocol=protocol)
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
        index_event=protocol.time_zero,
        endpoints=protocol.endpoints,
        horizons=protocol.horizons,
        method=" ".join(METHODS[k] for k in dict.fromkeys(ENDPOINTS[e].kind for e in protocol.endpoints))
        + f" Explanations: {EXACT}.",
        cohorts=tuple(source.as_dict() for source in cohort.provenance),
        patients=len(cohort),
        events={
            outcome: count
            for name, found in outcomes.items()
            for outcome, count in outcome_events(found, tuple(ENDPOINTS[name].labels)).items()
        },
        missing=missing,
        sample_size={outcome: size.as_dict() for outcome, size in sizes.items()},
        performance={
            "design": (
                f"{plan.evaluation_folds}-fold cross-validation by patient; "
                "95 % bootstrap intervals over patients"
            ),
            "endpoints": evaluation.as_dict(),
        },
        limitations=selection + LIMITATIONS + size_warnings(sizes),
        caution="An association in the training cohorts, not the effect of any treatment.",
    )


def sample_sizes(cohort: Cohort, outcomes: Outcomes, *, protocol: StudyProtocol) -> Mapping[str, SampleSize]:
    """Return what the cohort has and what each outcome's model would need, before anything is fitted."""
    parameters = len(Encoder.fit(cohort, predictors=protocol.predictors).columns)
    return {
        outcome: size
        for name, found in outcomes.items()
        for outcome, size in for_endpoint(
            ENDPOINTS[name], found, parameters, horizon=protocol.explained_horizon
        ).items()
    }


def size_warnings(sizes: Mapping[str, SampleSize]) -> tuple[str, ...]:
    """Return every warning about the sample size, with the outcome's name before it."""
    return tuple(
        f"{outcome.replace('_', ' ')}: {warning}"
        for outcome, size in sizes.items()
        for warning in size.warnings
    )


def survival_by_risk_group(evaluation: EndpointEvaluation) -> Figure:
    """Draw predicted and observed survival of held-out patients in thirds of predicted risk."""
    held_out = evaluation.held_out
    curves = held_out.curves[MODEL]
    figure, axes = _panel(
        f"Held-out {held_out.endpoint.title.lower()} by predicted risk", "Months", "Survival probability"
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


def calibration_plot(evaluation: EndpointEvaluation) -> Figure:
    """Draw predicted against observed risk of the first outcome, everyone and each disease."""
    groups, endpoint = evaluation.calibrations, evaluation.held_out.endpoint
    outcome = next(iter(endpoint.labels)).replace("_", " ")
    risk = "event" if endpoint.kind == SURVIVAL else outcome
    figure = Figure(figsize=(4.2 * len(groups), 4.2), layout="constrained")
    for place, (group, fits) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(1, len(groups), place)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for fit in fits:
            at = f"{fit.horizon:g} months " if endpoint.timed else ""
            label = f"{at}(ICI {fit.ici:.3f})"
            axes.plot(fit.predicted, fit.observed, "o-", markersize=4, label=label)
        name = "everyone" if group == EVERYONE else group.replace("_", " ")
        axes.set(
            title=f"Calibration: {name}",
            xlabel=f"Predicted risk: {risk}",
            ylabel="Observed risk",
        )
        axes.legend(fontsize=8)
    return figure


def shap_summary(bundle: ModelBundle, cohort: Cohort) -> Figure:
    """Draw the contributions to the leading endpoint's first probability in a spread of training patients."""
    import shap  # noqa: PLC0415  takes seconds to load and is needed for this figure alone
    from matplotlib import pyplot as plt  # noqa: PLC0415  shap draws on pyplot's current figure

    every = max(1, len(cohort) // EXPLAINED_PATIENTS)
    patients = [cohort.take(np.array([row])) for row in range(0, len(cohort), every)]
    explained = [bundle.predict(patient).endpoints[0].outcomes[0].explanation for patient in patients]
    scales = [next(s for s in e.scales if s.scale == PROBABILITY) for e in explained]
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
    axis.set_xlabel(f"Contribution to the {scales[0].unit}")
    figure.set_layout_engine("tight")
    plt.close(figure)
    return figure


def _panel(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes
