"""The data scientist's commands. What only some of them need is imported inside them, as it takes seconds."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from features.cohort import Cohort, concatenate
from features.protocol import StudyProtocol, load_protocol
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe, recipe_names
from models.registry.settings import RegistrySettings
from training import display

READY = "ready"

cohort = typer.Typer(no_args_is_help=True, help="Build and check cohorts.")
models = typer.Typer(no_args_is_help=True, help="List, promote and fetch registered models.")
console = Console()
progress = Console(stderr=True)


@cohort.command("recipes")
def recipes() -> None:
    """List the ready recipes."""
    table = Table("recipe", "title", "evidence")
    for name in recipe_names():
        recipe = load_recipe(name)
        table.add_row(recipe.name, recipe.title, recipe.evidence)
    console.print(table)


@cohort.command("build")
def build(
    recipe: Annotated[str, typer.Option(help="A ready recipe's name, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    file: Annotated[
        Path | None, typer.Option("--input", help="CSV, TSV or Parquet, where not public.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build a cohort and print who was read, excluded and kept."""
    built = build_cohort(load_recipe(recipe), file=file)
    built.write(out)
    summary = display.cohort_summary(built)
    console.print_json(json.dumps(summary)) if as_json else display.attrition(console, summary)


@cohort.command("describe")
def describe(
    file: Path,
    by: Annotated[str, typer.Option(help="A category or flag to show side by side.")] = "disease",
    out: Annotated[Path | None, typer.Option("--html", help="Also write a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print a cohort's Table 1: who they are, what is missing, how long they were followed."""
    from training.description import describe as described  # noqa: PLC0415

    table = described(Cohort.read(file), by=by)
    if out is not None:
        out.write_text(table.as_html(), encoding="utf-8")
    console.print_json(json.dumps(table.as_dict())) if as_json else display.description(console, table)


@cohort.command("check")
def check(file: Path) -> None:
    """Validate a cohort file against the dictionary."""
    display.attrition(console, display.cohort_summary(Cohort.read(file)))


def fit(
    protocol: Annotated[
        str, typer.Option(help="A ready protocol's name, or a YAML file.")
    ] = "relapse-survival",
    cohorts: Annotated[
        list[str] | None,
        typer.Option("--cohort", help="Cohort file; repeat for several; 'ready' for the protocol's own."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every split and resampling.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fit, evaluate on held-out patients, track, register, and promote when the gate is passed."""
    study = load_protocol(protocol)
    with progress.status("reading cohorts") as status:
        joined = _read_cohorts(study, cohorts or [READY])
        from training.plan import TrainingPlan  # noqa: PLC0415
        from training.run import train  # noqa: PLC0415

        plan = TrainingPlan() if seed is None else TrainingPlan(seed=seed)
        registered = train(
            joined,
            protocol=study,
            plan=plan,
            settings=RegistrySettings.from_environment(os.environ),
            report_progress=lambda step: status.update(step),
        )
    summary = registered.as_dict()
    console.print_json(json.dumps(summary)) if as_json else display.registered(console, summary)


def evaluate(
    cohorts: Annotated[
        list[str], typer.Option("--cohort", help="Cohort file; 'ready' for the protocol's own.")
    ],
    model: Annotated[str, typer.Option(help="A registered model.")] = "salvage-relapse-survival",
    version: Annotated[str | None, typer.Option(help="A version; the champion when absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score a registered model on a cohort it may never have seen, and track the result."""
    from training.external import evaluate_registered  # noqa: PLC0415

    settings = RegistrySettings.from_environment(os.environ)
    with progress.status("evaluating"):
        found = evaluate_registered(
            model, version, read=lambda study: _read_cohorts(study, cohorts), settings=settings
        )
    summary = {
        "model": model,
        "version": found.version,
        "seen_in_training": found.seen,
        "groups": found.as_dict(),
    }
    console.print_json(json.dumps(summary)) if as_json else display.external(console, summary)


@models.command("list")
def list_models() -> None:
    """List every registered version."""
    from models.registry.store import Registry  # noqa: PLC0415

    table = Table("model", "version", "champion", "evidence", "gate", "bundle")
    for entry in Registry.open(RegistrySettings.from_environment(os.environ)).versions():
        tags = entry.tags
        champion = "yes" if entry.champion else ""
        table.add_row(
            entry.name,
            entry.version,
            champion,
            tags.get("evidence"),
            tags.get("gate"),
            tags.get("bundle", "")[:12],
        )
    console.print(table)


@models.command("promote")
def promote(name: str, version: str) -> None:
    """Publish a registered version and make it the champion that is served."""
    from training.promotion import promote_version  # noqa: PLC0415

    promote_version(name, version, settings=RegistrySettings.from_environment(os.environ))
    console.print(f"{name} {version} is champion")


def _read_cohorts(study: StudyProtocol, named: list[str]) -> Cohort:
    """Read cohort files; ``ready`` stands for the protocol's own cohorts, built from their recipes."""
    parts: list[Cohort] = []
    for name in named:
        if name == READY:
            parts += [build_cohort(load_recipe(recipe)) for recipe in study.cohorts]
        else:
            parts.append(Cohort.read(Path(name)))
    return concatenate(parts)
