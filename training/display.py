"""What the commands print: plain summaries as tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from features.cohort import Cohort
from features.endpoints import event_counts

if TYPE_CHECKING:
    from training.description import Description

METRICS = {
    "harrell_c": "Harrell's C",
    "uno_c": "Uno's C",
    "integrated_brier": "integrated Brier",
    "c": "Wolbers' C",
    "auc": "AUC",
    "brier": "Brier",
    "a_calibration": "A-calibration, p",
    "d_calibration": "D-calibration, p",
    "scored_until": "curves scored until, months",
    "ici": "ICI",
    "e50": "E50",
    "e90": "E90",
    "observed_to_expected": "O/E",
}
LABELS = {"model": "model", "cox": "Cox baseline", "kaplan_meier": "Kaplan-Meier"}


def cohort_summary(cohort: Cohort) -> dict[str, Any]:
    """Return who was read, excluded and kept, source by source, with the events."""
    return {
        "kept": len(cohort),
        "events": event_counts(cohort),
        "evidence": cohort.evidence,
        "fingerprint": cohort.fingerprint(),
        "sources": [source.as_dict() for source in cohort.provenance],
    }


def attrition(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the way from the patients read to the patients kept."""
    for source in summary["sources"]:
        table = Table("step", "patients", title=f"{source['recipe']} ({source['evidence']})")
        table.columns[1].justify = "right"
        table.add_row("read", f"{source['attrition']['read']:,}")
        for step in source["attrition"]["exclusions"]:
            table.add_row(f"excluded: {step['reason']}", f"{step['excluded']:,}")
        table.add_row("kept", f"{source['attrition']['kept']:,}", style="bold")
        console.print(table)
    for endpoint, count in summary["events"].items():
        console.print(f"{summary['kept']:,} kept, {count:,} events ({endpoint.replace('_', ' ')})")


def description(console: Console, described: "Description") -> None:
    """Print a cohort's Table 1, block by block."""
    table = Table("", *described.groups, title=described.title)
    section = ""
    for row in described.rows:
        if row.section != section:
            section = row.section
            table.add_section()
            table.add_row(section, style="bold")
        table.add_row(row.label, *row.cells)
    console.print(table)


def simulation_summary(arms: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many arms are within tolerance, which miss, and every arm's figures."""
    missed = [arm["arm"] for arm in arms if not arm["within"]]
    within = len(arms) - len(missed)
    return {
        "arms": len(arms),
        "within": within,
        "share": within / len(arms),
        "missed": missed,
        "diseases": sorted({arm["disease"] for arm in arms}),
        "checks": arms,
    }


def simulation(console: Console, summary: Mapping[str, Any]) -> None:
    """Print published against simulated figures, arm by arm."""
    table = Table("arm", "trial", "figure", "published", "simulated", "tolerated", "verdict")
    for arm in summary["checks"]:
        for figure in arm["figures"]:
            tolerated = f"{figure['low']:.3g} to {figure['high']:.3g}"
            verdict = "within" if figure["within"] else "MISSED"
            shown = (f"{figure['published']:.3g}", f"{figure['simulated']:.3g}", tolerated, verdict)
            table.add_row(arm["arm"], arm["trial"], figure["figure"], *shown)
    console.print(table)
    console.print(f"{summary['within']} of {summary['arms']} arms within tolerance ({summary['share']:.1%})")
    for name in summary["missed"]:
        console.print(f"missed: {name}")


def scores(console: Console, computed: list[dict[str, Any]]) -> None:
    """Print each score's groups, and how many could not be scored."""
    for score in computed:
        checked = "" if score["verified"] else f"; not verified: {score['unverified']}"
        table = Table("group", "patients", title=f"{score['title']}{checked}")
        for name, count in score["groups"].items():
            table.add_row(name, f"{count:,}")
        unscored = score["patients"] - sum(score["groups"].values())
        table.add_row("an input is missing", f"{unscored:,}")
        console.print(table)


def registered(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the held-out metrics beside the baselines, and what was registered."""
    for endpoint, groups in summary["performance"].items():
        for group, by_model in groups.items():
            title = f"{endpoint}, {group}: held-out patients".replace("_", " ")
            console.print(_metrics(title, by_model))
    console.print(
        f"registered {summary['name']} version {summary['version']}, bundle {summary['bundle'][:12]}"
    )
    if summary["champion"]:
        console.print("gate passed: this version is champion")
    for failure in summary["gate"]:
        console.print(f"gate failed, not promoted: {failure}")


def external(console: Console, summary: Mapping[str, Any]) -> None:
    """Print a registered model's metrics on a cohort."""
    if summary["seen_in_training"]:
        console.print("this cohort trained the model: these figures flatter it", style="bold")
    for endpoint, groups in summary["endpoints"].items():
        for group, metrics in groups.items():
            title = f"{endpoint}, {group}".replace("_", " ")
            console.print(_metrics(f"{title}: {summary['model']}", {"model": metrics}))


Figures = Mapping[str, Mapping[str, Any]]
"""Estimates as plain values, by metric."""


def _metrics(title: str, by_model: Mapping[str, Figures]) -> Table:
    """Return a table of metrics by model; below it why some have no value, each reason once."""
    table = Table("metric", *(LABELS.get(name, name.replace("_", " ")) for name in by_model), title=title)
    for metric in next(iter(by_model.values())):
        table.add_row(_metric(metric), *(_estimate(metrics[metric]) for metrics in by_model.values()))
    reasons = (e.get("reason") for metrics in by_model.values() for e in metrics.values())
    if given := list(dict.fromkeys(reason for reason in reasons if reason)):
        table.caption = "none: " + "; ".join(given)
    return table


def _metric(name: str) -> str:
    outcome, _, figure = name.rpartition(".")
    stem, _, horizon = figure.rpartition("_")
    shown = (
        f"{METRICS.get(stem, stem)}, {horizon} months" if horizon.isdigit() else METRICS.get(figure, figure)
    )
    return f"{outcome.replace('_', ' ')}: {shown}" if outcome else shown


def _estimate(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "none"
    interval = "" if estimate["low"] is None else f" ({estimate['low']:.3f} to {estimate['high']:.3f})"
    return f"{estimate['value']:.4f}{interval}"
