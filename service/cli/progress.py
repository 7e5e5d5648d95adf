"""How far a training is, on the terminal: a bar where there is one, an epoch a line where there is none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

Tell = Callable[[dict[str, Any]], None]


@contextmanager
def training_progress() -> Iterator[Tell]:
    """Give the function that takes the events of a training, as `--progress jsonl` writes them."""
    if not sys.stdout.isatty():
        yield _tell_by_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[figures]}")) as screen:
        bar = screen.add_task("", total=None, figures="")

        def tell(event: dict[str, Any]) -> None:
            if event["event"] == "start":
                screen.reset(bar, total=event["epochs"])
            elif event["event"] == "epoch":
                screen.update(bar, completed=event["epoch"], figures=_figures(event))

        yield tell


def _tell_by_line(event: dict[str, Any]) -> None:
    if event["event"] == "start" and "parameters" in event:
        typer.echo(f"{event['recipe']}: {event['train_examples']:,} examples, {event['parameters']:,} parameters")
    elif event["event"] == "epoch":
        typer.echo(f"epoch {event['epoch']}/{event['epochs']}  {_figures(event)}")
    elif event["event"] == "finished":
        typer.echo("  ".join(f"{name} {_figure(value)}" for name, value in event["metrics"].items()))


def _figures(epoch: dict[str, Any]) -> str:
    validation = epoch["validation_accuracy"]
    shown = f"  validation accuracy {validation:.2%}" if validation is not None else ""
    return f"loss {epoch['train_loss']:.4f}{shown}"


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
