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
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns) as screen:
        bar = screen.add_task("", total=None, epoch="", figures="")

        def tell(event: dict[str, Any]) -> None:
            epoch, epochs = event.get("epoch", 0), event.get("epochs")
            match event["event"]:
                case "start":
                    screen.update(bar, total=epochs, epoch=f"0/{epochs or '?'}")
                case "progress":
                    done = epoch - 1 + event["step"] / event["steps"]
                    screen.update(bar, completed=done, epoch=f"{epoch}/{epochs}", figures=_speed(event))
                case "epoch":
                    screen.update(
                        bar, total=epochs, completed=epoch, epoch=f"{epoch}/{epochs}", figures=_figures(event)
                    )
                case "log":
                    screen.console.print(event["line"], markup=False)

        yield tell


def _tell_by_line(event: dict[str, Any]) -> None:
    match event["event"]:
        case "start" if "parameters" in event:
            typer.echo(f"{event['recipe']}: {event['train_examples']:,} examples, {event['parameters']:,} parameters")
        case "epoch":
            typer.echo(f"epoch {event['epoch']}/{event['epochs']}  {_figures(event)}")
        case "log":
            typer.echo(event["line"])
        case "finished":
            typer.echo("  ".join(f"{name} {_figure(value)}" for name, value in event["metrics"].items()))


def _speed(event: dict[str, Any]) -> str:
    minutes, seconds = divmod(round(event["seconds_left"]), 60)
    share = f"  accuracy {event['train_accuracy']:.2%}" if event["train_accuracy"] is not None else ""
    speed = f"{event['images_per_second']:,.0f} images/s  {minutes}:{seconds:02} left"
    return f"loss {event['train_loss']:.4f}{share}  {speed}"


def _figures(epoch: dict[str, Any]) -> str:
    validation = epoch["validation_accuracy"]
    shown = f"  validation accuracy {validation:.2%}" if validation is not None else ""
    return f"loss {epoch['train_loss']:.4f}{shown}"


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
