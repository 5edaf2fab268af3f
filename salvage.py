"""The front door: one command, composed of training's and serving's."""

import sys

import typer
from rich.console import Console
from rich.table import Table

import serving.access.cli
import serving.cli
import training.cli
from features.errors import InvalidInput, NotFound, SalvageError

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Outcome prediction for salvage therapy."
)
app.add_typer(training.cli.cohort, name="cohort")
app.command("fit")(training.cli.fit)
app.command("evaluate")(training.cli.evaluate)
app.add_typer(training.cli.models, name="models")
app.add_typer(serving.access.cli.keys, name="keys")
app.command("serve")(serving.cli.serve)
app.add_typer(serving.cli.audit, name="audit")

BAD_INPUT, FAILED = 2, 1


def main() -> None:
    """Run the command; an error raised on purpose is printed as one message, not as a traceback."""
    try:
        app()
    except SalvageError as error:
        sys.exit(_explain(error, Console(stderr=True)))


def _explain(error: SalvageError, console: Console) -> int:
    """Print what is wrong and what to do, and return the exit code."""
    if not isinstance(error, InvalidInput):
        console.print(str(error), style="bold")
        return BAD_INPUT if isinstance(error, NotFound) else FAILED
    table = Table("where", "problem", "rows", "e.g. rows", "what to do", title=error.subject)
    for problem in error.problems:
        rows = "" if problem.rows is None else f"{problem.rows:,}"
        table.add_row(
            problem.field, problem.problem, rows, ", ".join(map(str, problem.examples)), problem.remedy
        )
    console.print(table)
    return BAD_INPUT


if __name__ == "__main__":
    main()
