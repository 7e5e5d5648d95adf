"""`python -m training`: train, evaluate, plot and release networks from the command line."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from training import recipes
from training.cli.blas import reexec_with_faster_core_type
from training.cli.commands import app as other_commands
from training.cli.options import DataOption, RecipeOption, SeedOption, SetOption, console, exit_on_error
from training.cli.reporters import REPORTERS, download_progress
from training.recipes.experiment import Experiment
from training.recipes.overrides import parse_overrides

_LAST_SECONDS = 30.0

app = typer.Typer(
    help="Train and evaluate small neural networks on 28×28 glyphs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command(
    name="fit",
    epilog="Example: python -m training fit --recipe starter --set epochs=3 --set layers=784,64,10 --out runs/first",
)
def fit_command(
    recipe: RecipeOption = "starter",
    data: DataOption = None,
    out: Annotated[Path, typer.Option(help="Folder for weights.npz and manifest.json.")] = Path("runs/latest"),
    seed: SeedOption = None,
    changes: SetOption = None,
    settings: Annotated[str | None, typer.Option(help="Settings as one JSON object.")] = None,
    progress: Annotated[str, typer.Option(help=f"One of {', '.join(REPORTERS)}.")] = "bar",
    resume: Annotated[bool, typer.Option("--resume", help="Write checkpoints, and resume from the last one.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Minimum time between checkpoints, longer for large ones; 0 for one per epoch.")
    ] = 0.0,
    plots: Annotated[bool, typer.Option("--plots", help="Save plots in the folder.")] = False,
    stop_when_stdin_closes: Annotated[
        bool, typer.Option("--stop-when-stdin-closes", help="Exit when the parent process is gone.")
    ] = False,
) -> None:
    """Train a network by a recipe and save it. Ctrl-C saves the best weights so far and exits."""
    if progress not in REPORTERS:
        raise typer.BadParameter(f"choose one of {', '.join(REPORTERS)}", param_hint="--progress")
    signal.signal(signal.SIGTERM, _terminate)
    if stop_when_stdin_closes:
        threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    with exit_on_error(as_json=progress == "jsonl"):
        chosen = recipes.get(recipe).replace(**parse_overrides(changes or [], settings, data=data, seed=seed))
        if plots:
            import training.report.plots  # noqa: F401 -- fails before training if matplotlib is missing
        checkpoint, due = out / "checkpoint.npz", 0.0
        with REPORTERS[progress]() as report:
            experiment = Experiment(chosen, progress=download_progress(progress))
            if resume:
                experiment.resume(checkpoint)
            report.start(experiment)
            try:
                for epoch in experiment.epochs(report.step):
                    if resume and time.monotonic() >= due:
                        due = _keep(experiment, checkpoint, checkpoint_seconds)
                    report.epoch(epoch)
            except KeyboardInterrupt as interrupt:
                if not isinstance(interrupt, TerminatedError):
                    _keep_interrupted(experiment, out)
                raise
            manifest = experiment.save(out)
        if plots:
            _plot(experiment, out)
        report.finish(manifest, str(out))


app.add_typer(other_commands)


@app.command(name="recipes")
def recipes_command() -> None:
    """List the recipes."""
    table = Table(box=None, show_header=False)
    for recipe in recipes.RECIPES.values():
        table.add_row(f"[bold]{recipe.name}[/]", recipe.description)
    console().print(table)


def _keep_interrupted(experiment: Experiment, out: Path) -> None:
    if not experiment.run.history:
        sys.stderr.write("interrupted in the first epoch: nothing was kept\n")
        return
    experiment.restore_best()
    experiment.save(out)
    sys.stderr.write(f"interrupted; the best weights so far are in {out}\n")


_PAUSE_FACTOR = 50
"""Minimum pause between checkpoints, as a multiple of the time to write one, to limit disk load."""


def _keep(experiment: Experiment, checkpoint: Path, least_seconds: float) -> float:
    """Write a checkpoint and return the time at which the next one is due."""
    began = time.monotonic()
    try:
        experiment.checkpoint(checkpoint)
    except OSError as error:  # such as a full disk; the next checkpoint may succeed
        sys.stderr.write(f"no checkpoint of epoch {len(experiment.run.history)}: {error.strerror}\n")
    ended = time.monotonic()
    return ended + max(least_seconds, _PAUSE_FACTOR * (ended - began) if least_seconds else 0)


def _plot(experiment: Experiment, out: Path) -> None:
    from training.report.plots import draw_all

    shown, history = experiment.splits.final_test, experiment.run.history
    draw_all(out, dataset=shown, history=history, evaluation=experiment.evaluation(), network=experiment.network)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: exit without saving."""


def _terminate(*_: object) -> None:
    raise TerminatedError


def _interrupt_at_end_of_input() -> None:
    # Not through sys.stdin: this thread would hold its lock and abort the interpreter at exit.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)  # the main thread is blocked


def main() -> None:
    """Run the command."""
    reexec_with_faster_core_type()
    app(prog_name="python -m training")


if __name__ == "__main__":
    main()
