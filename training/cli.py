"""The data scientist's commands. What only some of them need is imported inside them, as it takes seconds."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from features.cohort import Cohort, concatenate, read_header
from features.errors import InvalidInput, Problem
from features.protocol import StudyProtocol, load_protocol
from features.sources.build import build_cohort
from features.sources.fhir import FhirRecipe
from features.sources.omop import OmopRecipe
from features.sources.recipe import load_recipe, recipe_names
from models.bundle.signature import Keys
from models.registry.settings import RegistrySettings
from training import display
from training.plan import TrainingPlan
from training.scope import select
from training.workers import available_cpus, start_workers

READY = "ready"

cohort = typer.Typer(no_args_is_help=True, help="Build and check cohorts.")
models = typer.Typer(no_args_is_help=True, help="List and promote registered models.")
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
    source: Annotated[
        str | None, typer.Option("--input", help="File, folder or database address, where not public.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build a cohort and print who was read, excluded and kept."""
    _require_folder(out)
    _write(build_cohort(load_recipe(recipe), source), out, as_json=as_json)


@cohort.command("import-fhir")
def import_fhir(
    path: Annotated[Path, typer.Argument(help="A Bundle, a folder of Bundles, or a folder of NDJSON files.")],
    evidence: Annotated[str, typer.Option(help="real or synthetic.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build a cohort from mCODE Bundles or a bulk export."""
    _write(build_cohort(FhirRecipe(evidence=evidence), path), out, as_json=as_json)


@cohort.command("import-omop")
def import_omop(
    url: Annotated[str, typer.Argument(help="The address of a CDM 5.4 database.")],
    evidence: Annotated[str, typer.Option(help="real or synthetic.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    index: Annotated[str, typer.Option(help="progression or second_treatment.")] = "progression",
    schema: Annotated[str | None, typer.Option(help="The schema of the CDM's tables.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build a cohort from an OMOP CDM 5.4 database with oncology episodes."""
    _write(build_cohort(OmopRecipe(evidence=evidence, index=index, schema=schema), url), out, as_json=as_json)


@cohort.command("simulate")
def simulate(
    patients: Annotated[int, typer.Option(help="How many patients.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Simulate patients calibrated to published trials; they are synthetic, and the file says so."""
    from features.simulation.simulate import simulate as simulated  # noqa: PLC0415

    with progress.status("simulating"):
        simulated_cohort = simulated(patients, seed=seed).cohort
    _write(simulated_cohort, out, as_json=as_json)


@cohort.command("check-simulation")
def check_simulation(
    patients: Annotated[
        int, typer.Option("--patients-per-arm", help="Patients drawn for each arm.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Draw every calibrated trial arm and print published against simulated figures."""
    from features.simulation.check import check_simulation as checked  # noqa: PLC0415

    with progress.status("drawing every arm"):
        arms = [arm.as_dict() for arm in checked(patients_per_arm=patients, seed=seed)]
    summary = display.simulation_summary(arms)
    console.print_json(json.dumps(summary)) if as_json else display.simulation(console, summary)


@cohort.command("scores")
def scores(
    file: Path,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compute the published scores of a cohort's diseases, and count who cannot be scored."""
    from features.scores import compute, load_score, score_names  # noqa: PLC0415

    read = Cohort.read(file)
    computed = [compute(load_score(name), read).as_dict() for name in score_names()]
    concerned = [score for score in computed if score["patients"]]
    console.print_json(json.dumps(concerned)) if as_json else display.scores(console, concerned)


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
    """Validate a cohort file of any size against the dictionary, part by part."""
    from features.sources.parquet_check import check_parquet  # noqa: PLC0415

    dictionary, provenance = read_header(file)
    checked = check_parquet(file, dictionary=dictionary)
    checked.require_valid(str(file))
    display.attrition(console, {"sources": [source.as_dict() for source in provenance], "events": {}})
    console.print(f"{checked.rows:,} patients, every value within the dictionary")


def fit(
    protocol: Annotated[
        str, typer.Option(help="A ready protocol's name, or a YAML file.")
    ] = "relapse-survival",
    cohorts: Annotated[
        list[str] | None,
        typer.Option("--cohort", help="Cohort file; repeat for several; 'ready' for the protocol's own."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every split and resampling.")] = None,
    tune: Annotated[int, typer.Option(min=1, help="Settings to try for survival; 1 keeps the defaults.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that fit at once; one a CPU when absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fit, evaluate on held-out patients, track, register, and promote when the gate is passed."""
    study = load_protocol(protocol)
    plan = TrainingPlan(trials=tune) if seed is None else TrainingPlan(seed=seed, trials=tune)
    fits = plan.evaluation_folds + 1
    with (
        progress.status("reading cohorts") as status,
        start_workers(min(jobs or available_cpus(), fits)) as workers,
    ):
        joined = _read_cohorts(study, cohorts or [READY])
        from training.run import train  # noqa: PLC0415

        registered = train(
            joined,
            protocol=study,
            plan=plan,
            settings=RegistrySettings.from_environment(os.environ),
            workers=workers,
            report_progress=status.update,
            report_warning=lambda warning: progress.print(f"note: {warning}"),
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
        evaluation = evaluate_registered(
            model, version, read=lambda study: _read_cohorts(study, cohorts), settings=settings
        )
    summary = {
        "model": model,
        "version": evaluation.version,
        "seen_in_training": evaluation.seen,
        "endpoints": evaluation.as_dict(),
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


@models.command("key")
def show_key() -> None:
    """Print the public key that this host signs its bundles with; servers trust it or not."""
    typer.echo(_keys().public())


@models.command("trust")
def trust_key(
    key: str, remark: Annotated[str, typer.Option(help="Whose key it is, for the list's readers.")] = ""
) -> None:
    """Let this server load bundles that another host signed; compare the key with that host's own word."""
    keys = _keys()
    keys.trust(key, remark)
    console.print(f"trusted, in {keys.trusted}")


def _keys() -> Keys:
    return Keys.from_environment(os.environ, home=RegistrySettings.from_environment(os.environ).home)


def _require_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise InvalidInput(
            "--out", [Problem(str(out.parent), "is no folder", "make it first, or write elsewhere")]
        )


def _write(built: Cohort, out: Path, *, as_json: bool) -> None:
    """Write a cohort and print who was read, excluded and kept."""
    _require_folder(out)
    built.write(out)
    summary = display.cohort_summary(built)
    console.print_json(json.dumps(summary)) if as_json else display.attrition(console, summary)


def _read_cohorts(study: StudyProtocol, named: list[str]) -> Cohort:
    """Read cohort files; ``ready`` stands for the protocol's own cohorts, built from their recipes."""
    parts: list[Cohort] = []
    for name in named:
        if name == READY:
            parts += [build_cohort(load_recipe(recipe)) for recipe in study.cohorts]
        else:
            parts.append(Cohort.read(Path(name)))
    if not parts:
        remedy = "name a cohort file: --cohort FILE (salvage cohort build, simulate, import-fhir)"
        raise InvalidInput("--cohort", [Problem(READY, f"protocol {study.name} has no ready cohort", remedy)])
    return concatenate([select(part, study) for part in parts])
