"""The `glyphserve` command. Commands import what they need when they run, so that `--help` is quick."""

import logging
import os
import sys
from typing import Annotated

import typer

# One thread per process serves fastest and leaves the other cores free. Must be set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from service.cli import backup, jobs, keys, models, predict, samples, serve, train
from service.cli.context import warn_of_unknown_variables

app = typer.Typer(
    name="glyphserve",
    help="Recognise handwritten digits, and retrain while serving.\n\n"
    "Start with [bold]glyphserve serve[/], then open http://127.0.0.1:8000/docs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
serve.register(app)
predict.register(app)
train.register(app)
backup.register(app)
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(samples.app, name="samples")
app.add_typer(keys.app, name="keys")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"glyphserve {version('glyphserve')}")
        raise typer.Exit


@app.callback()
def main_callback(
    version: Annotated[  # noqa: ARG001 -- handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Configure logging for all commands; the processes of the service use their own settings."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if "--report-fd" not in sys.argv:  # the parent of this process has warned already
        warn_of_unknown_variables()


def main() -> None:
    """Run the command; print errors that the user can fix as one line without a traceback."""
    from pydantic import ValidationError

    from service.errors import ServiceError, UnprocessableContent

    try:
        app(prog_name="glyphserve")
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2 if isinstance(error, UnprocessableContent) else 1)  # 2: invalid usage
    except ValidationError as error:
        for details in error.errors():
            name = "_".join(str(part) for part in details["loc"])
            message = details["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"error: GLYPHSERVE_{name.upper()}: {message}\n")
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror or error}\n")
        sys.exit(1)
