"""Commands that release a model and write its card."""

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


@app.command(name="release", epilog="Example: python -m training release runs/latest models/mnist/3 --float16")
def release_command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `fit`.")],
    model: ModelArgument,
    float16: Annotated[bool, typer.Option("--float16", "--half", help="Store the weights as float16.")] = False,
    target_risk: Annotated[
        float,
        typer.Option(
            "--target-risk", "--risk", min=0, max=1, help="Highest error rate of predictions that are not rejected."
        ),
    ] = RISK,
    other_seed_run: Annotated[
        list[Path] | None,
        typer.Option("--other-seed-run", "--other", help="A run with another seed to report; it must not be better."),
    ] = None,
) -> None:
    """Release a run: calibrate it on its validation examples, measure it, write its card and plots."""
    with exit_on_error():
        made = release(run, model, float16=float16, other_seed_runs=other_seed_run or (), target_risk=target_risk)
        figures = write_card(made, history_of(run, made.network))
    typer.echo(format_measurements(figures))


@app.command(name="card", epilog="Example: python -m training card models/mnist/2")
def card_command(model: ModelArgument) -> None:
    """Measure a model and rewrite its card and plots."""
    with exit_on_error():
        typer.echo(format_measurements(write_card(open_released_model(model))))


def print_figures(model: Path, *, as_json: bool) -> None:
    """Measure a model and print the results."""
    with exit_on_error(as_json=as_json):
        figures = measure(open_released_model(model))
    sys.stdout.write((json.dumps(figures) if as_json else format_measurements(figures)) + "\n")
