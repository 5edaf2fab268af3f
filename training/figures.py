"""Figures of one evaluation and of one model, for the tracked run."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from features.cohort import Cohort
from models.bundle.bundle import ModelBundle
from models.estimators.curves import IntArray
from models.explanation.attribution import PROBABILITY
from training.evaluate import EndpointEvaluation
from training.scoring import EVERYONE, MODEL, Estimate

EXPLAINED_PATIENTS = 300


def figures_of(evaluation: EndpointEvaluation) -> Iterator[tuple[str, Figure]]:
    """Draw what makes sense for the endpoint, each figure with its name."""
    if evaluation.held_out.risk_groups:
        yield "survival_by_risk_group", survival_by_risk_group(evaluation)
    yield "calibration", calibration_plot(evaluation)


def survival_by_risk_group(evaluation: EndpointEvaluation) -> Figure:
    """Draw predicted and observed survival of held-out patients in thirds of predicted risk."""
    held_out = evaluation.held_out
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for at, group in enumerate(held_out.risk_groups):
        color, shown = f"C{at}", group.months <= group.times[-1]
        axes.step(
            group.months[shown],
            group.observed[shown],
            where="post",
            color=color,
            label=f"{group.name}: observed",
        )
        axes.plot(group.times, group.predicted, "--", color=color, label=f"{group.name}: predicted")
    axes.set(
        title=f"Held-out {held_out.endpoint.title.lower()} by predicted risk",
        xlabel="Months",
        ylabel="Survival probability",
        ylim=(0, 1),
    )
    axes.legend(fontsize=8)
    return figure


def calibration_plot(evaluation: EndpointEvaluation) -> Figure:
    """Draw predicted against observed risk of the first outcome, in fifths of everyone and each disease.

    The ICI beside them is that of the smooth calibration, which needs no groups.
    """
    groups, kind = evaluation.calibrations, evaluation.held_out.kind
    figure = Figure(figsize=(4.2 * len(groups), 4.2), layout="constrained")
    for place, (group, curves) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(1, len(groups), place)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for metric, curve in curves.items():
            at = f"{curve.horizon:g} months " if kind.endpoint.timed else ""
            label = f"{at}({_ici(evaluation.by_group[group][MODEL][metric])})"
            axes.plot(curve.predicted, curve.observed, "o-", markersize=4, label=label)
        name = "everyone" if group == EVERYONE else group.replace("_", " ")
        axes.set(
            title=f"Calibration: {name}",
            xlabel=f"Predicted risk: {kind.event}",
            ylabel="Observed risk",
        )
        if curves:
            axes.legend(fontsize=8)
    return figure


def _ici(estimate: Estimate) -> str:
    return "too few for an ICI" if estimate.value is None else f"ICI {estimate.value:.3f}"


def shap_summary(bundle: ModelBundle, cohort: Cohort) -> Figure:
    """Draw the contributions to the leading endpoint's first probability in a spread of training patients.

    They are those for whom it is explained at one horizon: the farthest that any disease's follow-up
    supports. A predictor that has no meaning in a patient's disease contributes nothing.
    """
    import shap  # noqa: PLC0415  takes seconds to load and is needed for this figure alone
    from matplotlib import pyplot as plt  # noqa: PLC0415  shap draws on pyplot's current figure

    rows, horizon = _explained(bundle, cohort)
    every = max(1, len(rows) // EXPLAINED_PATIENTS)
    patients = [cohort.take(np.array([row])) for row in rows[::every]]
    predictions = [bundle.predict(patient, horizon=horizon) for patient in patients]
    explained = [prediction.endpoints[0].outcomes[0].explanation for prediction in predictions]
    scales = [next(s for s in e.scales if s.scale == PROBABILITY) for e in explained]
    added = [{c.predictor: c.contribution for c in scale.contributions} for scale in scales]
    values = np.array([[one.get(f.name, 0.0) for f in bundle.dictionary.fields] for one in added])
    data = np.array([[float(p.values[f.name][0]) for f in bundle.dictionary.fields] for p in patients])
    data[:, np.isnan(data).all(axis=0)] = 0.0  # one colour for what nobody drawn has known
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


def _explained(bundle: ModelBundle, cohort: Cohort) -> tuple[IntArray, float | None]:
    """Return the patients for whom the leading endpoint is explained at one horizon, and the horizon."""
    leading, wanted = bundle.endpoints[0], bundle.protocol.explained_horizon
    if not leading.endpoint.timed:
        return np.arange(len(cohort)), None
    diseases = [str(disease) for disease in cohort.text("disease")]
    reached = {disease: leading.explained_at(disease, wanted) for disease in set(diseases)}
    horizon = max(month for month in reached.values() if month is not None)
    rows = np.flatnonzero([reached[disease] == horizon for disease in diseases])
    return rows, horizon
