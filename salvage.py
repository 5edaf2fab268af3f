"""The front door: one command, composed of training's and serving's.

Each worker of the server imports this module too, as multiprocessing imports a program's main module in every
process that it spawns. Commands are therefore imported when they are composed, and not with the module.
"""

import sys
from typing import TYPE_CHECKING

from features.errors import InvalidInput, NotFound, SalvageError

if TYPE_CHECKING:
    from rich.console import Console
    from typer import Typer

BAD_INPUT, FAILED = 2, 1


def commands() -> "Typer":
    """Return the application of all commands."""
    import typer  # noqa: PLC0415  see above

    import serving.access.cli  # noqa: PLC0415
    import serving.cli  # noqa: PLC0415
    import training.cli  # noqa: PLC0415

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
    return app


def main() -> None:
    """Run the command; an error raised on purpose is printed as one message, not as a traceback."""
    from rich.console import Console  # noqa: PLC0415

    try:
        commands()()
    except SalvageError as error:
        sys.exit(_explain(error, Console(stderr=True)))


def _explain(error: SalvageError, console: "Console") -> int:
    """Print what is wrong and what to do, and return the exit code."""
    from rich.table import Table  # noqa: PLC0415

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
