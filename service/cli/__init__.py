"""The command `glyphserve`. What a command needs is imported when it runs, so that `--help` is quick."""

import logging
import os
import sys
from typing import Annotated

import typer

# One thread per process serves fastest and leaves the other cores free; it must be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from service.cli import backup, jobs, keys, models, predict, samples, serve, train
from service.cli.context import warn_of_unknown_variables

app = typer.Typer(
    name="glyphserve",
    help="Recognise handwritten digits, and keep learning while serving.\n\n"
    "Start with [bold]glyphserve serve[/], then open http://127.0.0.1:8000/docs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
serve.add_to(app)
predict.add_to(app)
train.add_to(app)
backup.add_to(app)
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(samples.app, name="samples")
app.add_typer(keys.app, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"glyphserve {version('glyphserve')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 -- its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Set up what all commands share; the processes of the service log more, as their settings say."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if "--report-fd" not in sys.argv:  # the parent of this process has told already
        warn_of_unknown_variables()


def main() -> None:
    """Run the command; what the user can mend is one line, without a trace."""
    from pydantic import ValidationError

    from service.errors import InvalidInput, ServiceError

    try:
        app(prog_name="glyphserve")
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2 if isinstance(error, InvalidInput) else 1)  # 2: what was asked for was refused
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"])
            told = problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"error: GLYPHSERVE_{name.upper()}: {told}\n")
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror or error}\n")
        sys.exit(1)
