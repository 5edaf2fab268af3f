"""Figures: they show the evaluation's own numbers."""

import io
from dataclasses import replace

import numpy as np
import pytest

from models.estimators.curves import kaplan_meier
from tests.lib.patients import protocol
from tests.models.registry.noise import NOISE
from training.figures import calibration_plot, figures_of, shap_summary, survival_by_risk_group
from training.metrics import restricted_mean_risk

pytestmark = NOISE


def picture(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@pytest.fixture(scope="module")
def summary_figure(bundle, cohort):
    return shap_summary(bundle, cohort)


def test_survival_by_risk_group_draws_observed_and_predicted_thirds(evaluation):
    figure = survival_by_risk_group(evaluation.leading)
    (axes,) = figure.axes
    held_out = evaluation.leading.held_out
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == 6
    risk = restricted_mean_risk(held_out.curves["model"], held_out.times)
    lowest = np.array_split(np.argsort(risk, kind="stable"), 3)[0]
    np.testing.assert_allclose(
        lines["lowest third of risk: predicted"].get_ydata(), held_out.curves["model"][lowest].mean(axis=0)
    )
    times, observed = kaplan_meier(held_out.outcome.take(lowest))
    np.testing.assert_allclose(lines["lowest third of risk: observed"].get_ydata(), observed[times <= 60.0])
    assert len(picture(figure)) > 10_000


def test_the_thirds_are_drawn_from_low_to_high_risk(evaluation):
    lines = survival_by_risk_group(evaluation.leading).axes[0].get_lines()
    ends = [line.get_ydata()[-1] for line in lines if line.get_label().endswith("predicted")]
    assert ends == sorted(ends, reverse=True)


def test_the_calibration_figure_draws_every_group_at_every_horizon(evaluation):
    figure = calibration_plot(evaluation.leading)
    assert [axes.get_title() for axes in figure.axes] == [
        "Calibration: everyone",
        "Calibration: breast cancer",
        "Calibration: colorectal cancer",
    ]
    for axes, fits in zip(figure.axes, evaluation.leading.calibrations.values(), strict=True):
        drawn = axes.get_lines()[1:]  # the first is the diagonal
        for line, fit in zip(drawn, fits.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), fit.predicted)
            np.testing.assert_array_equal(line.get_ydata(), fit.observed)
    ici = evaluation.leading.by_group["all"]["model"]["ici_24"].value
    assert figure.axes[0].get_lines()[2].get_label() == f"24 months (ICI {ici:.3f})"
    assert len(picture(figure)) > 10_000


def test_a_group_that_reaches_no_horizon_has_a_diagonal_alone(evaluation):
    nothing = replace(evaluation.leading, calibrations={"all": {}})
    (axes,) = calibration_plot(nothing).axes
    assert len(axes.get_lines()) == 1


def test_the_summary_is_of_patients_whose_disease_is_explained_at_the_farthest_horizon(bundle, cohort):
    (leading,) = bundle.endpoints
    for breast, horizon in ((3.0, 24.0), (13.0, 24.0)):
        supported = dict(leading.supported) | {"breast_cancer": breast}
        short = replace(bundle, endpoints=(replace(leading, supported=supported),))
        axes = shap_summary(short, cohort).axes[0]
        assert axes.get_xlabel() == f"Contribution to the probability of being alive at {horizon:g} months"


def test_the_summary_of_contributions_names_every_predictor(summary_figure, bundle):
    axes = summary_figure.axes[0]
    named = {label.get_text() for label in axes.get_yticklabels()}
    assert named == {field.label for field in bundle.dictionary.fields}
    assert axes.get_xlabel() == "Contribution to the probability of being alive at 24 months"
    assert len(picture(summary_figure)) > 10_000


def test_a_predictor_without_a_meaning_in_a_disease_stands_at_zero_there(summary_figure, bundle, cohort):
    axes, named = summary_figure.axes[0], np.array(cohort.text("disease"))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    drawn = np.vstack([np.asarray(points.get_offsets()) for points in axes.collections])
    for field in bundle.dictionary.fields:
        zeros = (drawn[np.round(drawn[:, 1]) == labels.index(field.label), 0] == 0.0).sum()
        assert zeros >= sum(
            (named == disease).sum() for disease in protocol().diseases if not field.applies(disease)
        )
    assert np.abs(drawn[:, 0]).max() > 0.01


def test_figures_stay_out_of_pyplots_global_list(summary_figure):
    from matplotlib import pyplot as plt  # noqa: PLC0415  importing it at the top would choose a backend

    assert plt.get_fignums() == []


def test_the_summary_of_contributions_leaves_global_randomness_untouched(bundle, cohort):
    before = np.random.get_state()  # noqa: NPY002
    try:
        shap_summary(bundle, cohort.take(np.arange(30)))
        assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    finally:
        np.random.set_state(before)  # noqa: NPY002


def test_an_endpoint_of_survival_has_both_figures(evaluation):
    names = [name for name, _ in figures_of(evaluation.leading)]
    assert names == ["survival_by_risk_group", "calibration"]
