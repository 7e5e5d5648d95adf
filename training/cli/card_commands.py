"""The commands of `python -m training` that turn a run into a released model, and tell what it can do."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import exit_on_error
from training.report.markdown import format_measurements
from training.report.measure import measure, open_released_model
from training.report.release import RISK, history_of, release, write_card

app = typer.Typer()

ModelArgument = Annotated[Path, typer.Argument(help="The folder of a model: models/<name>/<version>.")]


@app.command(name="release", epilog="Example: python -m training release runs/latest models/mnist/3 --half")
def release_command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `fit`.")],
    model: ModelArgument,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16.")] = False,
    risk: Annotated[float, typer.Option(min=0, max=1, help="Of the answers not refused, so many may be wrong.")] = RISK,
    other: Annotated[
        list[Path] | None, typer.Option(help="A run with another seed, to be told of; it must not be better.")
    ] = None,
) -> None:
    """Make a released model of a run: calibrated on what it held out, measured, with card and pictures."""
    with exit_on_error():
        made = release(run, model, half=half, others=other or (), risk=risk)
        figures = write_card(made, history_of(run, made.network))
    typer.echo(format_measurements(figures))


@app.command(name="card", epilog="Example: python -m training card models/mnist/2")
def card_command(model: ModelArgument) -> None:
    """Measure a model again, and write its card and pictures anew."""
    with exit_on_error():
        typer.echo(format_measurements(write_card(open_released_model(model))))


def print_figures(model: Path, *, as_json: bool) -> None:
    """Print all that a model's card tells, measured on its file."""
    with exit_on_error(as_json=as_json):
        figures = measure(open_released_model(model))
    sys.stdout.write((json.dumps(figures) if as_json else format_measurements(figures)) + "\n")
