"""`python -m training`: train, judge and keep networks from the command line."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training import recipes
from training.changes import read_changes
from training.data import open_source
from training.errors import ConfigError, TrainingError
from training.evaluation import Evaluation, evaluate
from training.experiment import Experiment
from training.export import load
from training.reports import REPORTS

app = typer.Typer(
    help="Train small neural networks on 28×28 glyphs, and see how good they are.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)

EXIT_FAILED, EXIT_BAD_SETTINGS, EXIT_INTERRUPTED = 1, 2, 130


@app.command(
    name="fit",
    epilog="Example: python -m training fit --recipe starter --set epochs=3 --set layers=784,64,10 --out runs/first",
)
def fit_command(
    recipe: Annotated[str, typer.Option(help="Which recipe to follow; `recipes` lists them.")] = "starter",
    data: Annotated[str | None, typer.Option(help="starter, mnist, a folder of IDX files, or an .npz.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for weights.npz and manifest.json.")] = Path("runs/latest"),
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    settings: Annotated[str | None, typer.Option(help="The same as one JSON object, for programs.")] = None,
    progress: Annotated[str, typer.Option(help=f"One of {', '.join(REPORTS)}.")] = "bar",
    stop_when_stdin_closes: Annotated[
        bool, typer.Option("--stop-when-stdin-closes", help="End when whoever started this is gone.")
    ] = False,
) -> None:
    """Train a network by a recipe and save it."""
    if progress not in REPORTS:
        raise typer.BadParameter(f"choose one of {', '.join(REPORTS)}", param_hint="--progress")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop_when_stdin_closes:
        threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    try:
        chosen = recipes.get(recipe).replace(**read_changes(changes or [], settings, data=data, seed=seed))
        with REPORTS[progress]() as report:
            experiment = Experiment(chosen)
            report.start(experiment)
            for epoch in experiment.epochs(report.step):
                report.epoch(epoch)
            manifest = experiment.save(out)
        report.finish(manifest, str(out))
    except TrainingError as error:
        _fail(error, as_json=progress == "jsonl")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command(name="evaluate", epilog="Example: python -m training evaluate models/mnist/1/weights.npz --data mnist")
def evaluate_command(
    weights: Annotated[Path, typer.Argument(help="A weights.npz.")],
    data: Annotated[str, typer.Option(help="starter, mnist, a folder of IDX files, or an .npz.")] = "mnist",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge a network on a data set: on its test examples, or on all where it has none."""
    try:
        source = open_source(data)
        examined = source.test or source.train
        result = evaluate(load(weights), examined)
    except TrainingError as error:
        _fail(error, as_json=as_json)
    if as_json:
        figures = {"examples": result.examples, "accuracy": result.accuracy, "top_3_accuracy": result.top_3_accuracy}
        figures |= {"calibration_error": result.calibration_error, "confusion": result.confusion.tolist()}
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        _print_evaluation(result, examined.classes)


@app.command(name="recipes")
def recipes_command() -> None:
    """List the recipes."""
    table = Table(box=None, show_header=False)
    for recipe in recipes.RECIPES.values():
        table.add_row(f"[bold]{recipe.name}[/]", recipe.description)
    Console().print(table)


def _print_evaluation(result: Evaluation, classes: tuple[str, ...]) -> None:
    report = result.report
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"[bold]{result.accuracy:.2%}[/] right ({len(result.wrong)} of {result.examples:,} wrong), "
        f"{result.top_3_accuracy:.2%} in the first three, calibration error {result.calibration_error:.4f}"
    )
    table = Table("class", "precision", "recall", "F1", "examples", *classes, box=None)
    for number, name in enumerate(classes):
        figures = (report.precision[number], report.recall[number], report.f1[number])
        row = [f"{figure:.4f}" for figure in figures] + [str(report.support[number])]
        table.add_row(name, *row, *map(str, result.confusion[number]))
    console.print(table)


def _interrupt_at_end_of_input() -> None:
    # Not through sys.stdin: its lock, held by this thread, would abort the interpreter on its way out.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _fail(error: TrainingError, *, as_json: bool) -> None:
    code = type(error).__name__.removesuffix("Error").lower()
    if as_json:
        field = getattr(error, "field", None)
        sys.stdout.write(json.dumps({"event": "failed", "code": code, "field": field, "detail": str(error)}) + "\n")
    else:
        sys.stderr.write(f"error: {error}\n")
    raise typer.Exit(EXIT_BAD_SETTINGS if isinstance(error, ConfigError) else EXIT_FAILED) from error


def main() -> None:
    """Run the command."""
    app(prog_name="python -m training")


if __name__ == "__main__":
    main()
