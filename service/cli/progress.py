"""Training progress on the terminal: a progress bar, or one line per epoch if the output is not a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

OnEvent = Callable[[dict[str, Any]], None]


@contextmanager
def training_progress() -> Iterator[OnEvent]:
    """Yield a callback for the events of a training, as `--progress jsonl` writes them."""
    if not sys.stdout.isatty():
        yield _print_event
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TextColumn("{task.fields[metrics]}"))
    with Progress(*columns) as display:
        bar = display.add_task("", total=None, epoch="", metrics="")

        def on_event(event: dict[str, Any]) -> None:
            epoch, epochs = event.get("epoch", 0), event.get("epochs")
            match event["event"]:
                case "start":
                    display.update(bar, total=epochs, epoch=f"0/{epochs or '?'}")
                case "progress":
                    completed = epoch - 1 + event["step"] / event["steps"]
                    display.update(bar, completed=completed, epoch=f"{epoch}/{epochs}", metrics=_step(event))
                case "epoch":
                    text = f"{epoch}/{epochs}"
                    display.update(bar, total=epochs, completed=epoch, epoch=text, metrics=_epoch(event))
                case "log":
                    display.console.print(event["line"], markup=False)

        yield on_event


def _print_event(event: dict[str, Any]) -> None:
    match event["event"]:
        case "start" if "parameters" in event:
            typer.echo(f"{event['recipe']}: {event['train_examples']:,} examples, {event['parameters']:,} parameters")
        case "epoch":
            typer.echo(f"epoch {event['epoch']}/{event['epochs']}  {_epoch(event)}")
        case "log":
            typer.echo(event["line"])
        case "finished":
            typer.echo("  ".join(f"{name} {_format(value)}" for name, value in event["metrics"].items()))


def _step(event: dict[str, Any]) -> str:
    minutes, seconds = divmod(round(event["seconds_left"]), 60)
    accuracy = f"  accuracy {event['train_accuracy']:.2%}" if event["train_accuracy"] is not None else ""
    speed = f"{event['images_per_second']:,.0f} images/s  {minutes}:{seconds:02} left"
    return f"loss {event['train_loss']:.4f}{accuracy}  {speed}"


def _epoch(event: dict[str, Any]) -> str:
    accuracy = event["validation_accuracy"]
    validation = f"  validation accuracy {accuracy:.2%}" if accuracy is not None else ""
    return f"loss {event['train_loss']:.4f}{validation}"


def _format(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
