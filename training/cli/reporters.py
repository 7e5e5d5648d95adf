"""Reporters of a training run: a progress bar, a line per epoch, a JSON object per event, or nothing.

A reporter is a context manager with the methods `start`, `step`, `epoch` and `finish`.
"""

import json
import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.cli.log_formats import make_formatter
from training.cli.progress import Pace
from training.data.dataset import Progress as DownloadProgress
from training.fit.history import Epoch, LossAndAccuracy
from training.recipes.experiment import Experiment


class NullReporter:
    """Report nothing."""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, also after an error."""

    def start(self, experiment: Experiment) -> None:
        """Called when the data is loaded and the network is built."""

    def step(self, step: int, steps: int, score: LossAndAccuracy) -> None:
        """Called after each step."""

    def epoch(self, epoch: Epoch) -> None:
        """Called after each epoch."""

    def finish(self, manifest: dict[str, Any], folder: str) -> None:
        """Called when the run is saved in `folder`."""


class JsonReporter(NullReporter):
    """Print one JSON object per event and line."""

    def _print(self, event: str, **figures: Any) -> None:
        sys.stdout.write(json.dumps({"event": event} | figures) + "\n")
        sys.stdout.flush()

    def start(self, experiment: Experiment) -> None:
        """See NullReporter."""
        splits, past = experiment.splits, experiment.run.history
        self._pace = Pace(experiment.recipe.fit, len(past))
        self._print(
            "start",
            recipe=experiment.recipe.name,
            epochs=experiment.recipe.fit.epochs,
            train_examples=len(splits.train),
            validation_examples=len(splits.validation or ()),
            parameters=len(experiment.network.parameters),
            **({"history": [_figures(epoch) for epoch in past]} if past else {}),
        )

    def step(self, step: int, steps: int, score: LossAndAccuracy) -> None:
        """See NullReporter."""
        if figures := self._pace.on_step(step, steps, score):
            self._print("progress", **figures)

    def epoch(self, epoch: Epoch) -> None:
        """See NullReporter."""
        self._pace.epoch()
        self._print("epoch", **_figures(epoch))

    def finish(self, manifest: dict[str, Any], folder: str) -> None:
        """See NullReporter."""
        metrics = manifest["metrics"]
        paths = {"weights": f"{folder}/weights.npz", "manifest": f"{folder}/manifest.json"}
        self._print("finished", seconds=metrics["seconds"], metrics=metrics, **paths)


class LineReporter(NullReporter):
    """Print one line per epoch, and a summary."""

    def __init__(self) -> None:
        """Print to standard output."""
        self.console = Console(highlight=False)

    def start(self, experiment: Experiment) -> None:
        """See NullReporter."""
        splits, layers = experiment.splits, "-".join(map(str, experiment.recipe.network.layers))
        held = f", {len(splits.validation):,} to validate" if splits.validation else ""
        held += f", {len(splits.test):,} to test" if splits.test else ""
        self.line = make_formatter(experiment)
        self.console.print(f"{experiment.recipe.name}: {layers}, {len(splits.train):,} examples to learn from{held}")

    def epoch(self, epoch: Epoch) -> None:
        """See NullReporter."""
        self.console.print(self.line(epoch), soft_wrap=True, markup=False)

    def finish(self, manifest: dict[str, Any], folder: str) -> None:
        """See NullReporter."""
        metrics = manifest["metrics"]
        part = next(part for part in ("test", "validation", "train") if f"{part}_examples" in metrics)
        self.console.print(
            f"[bold]{metrics[f'{part}_accuracy']:.2%}[/] of {metrics[f'{part}_examples']:,} {part} examples "
            f"in {metrics['seconds']:.1f} s → {folder}",
            soft_wrap=True,
        )


class BarReporter(LineReporter):
    """Show a progress bar with loss, speed and time left below a line per epoch."""

    def __init__(self) -> None:
        """Draw on the terminal, or print plain lines without one."""
        super().__init__()
        columns = (
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} images/s"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=self.console, transient=True)

    def __enter__(self) -> Self:
        """See NullReporter."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See NullReporter."""
        self.progress.stop()

    def start(self, experiment: Experiment) -> None:
        """See NullReporter."""
        super().start(experiment)
        fit, run = experiment.recipe.fit, experiment.run
        self.steps_before, self.batch_size = run.step, fit.batch_size
        epoch = min(len(run.history) + 1, fit.epochs)
        self.task = self.progress.add_task("", total=None, epoch=epoch, epochs=fit.epochs, loss=float("nan"), speed=0)

    def step(self, step: int, steps: int, score: LossAndAccuracy) -> None:
        """See NullReporter."""
        task = self.progress.tasks[self.task]
        self.progress.update(
            self.task,
            total=steps * task.fields["epochs"],
            completed=self.steps_before + step,
            loss=score.loss,
            speed=(task.speed or 0) * self.batch_size,
        )

    def epoch(self, epoch: Epoch) -> None:
        """See NullReporter."""
        super().epoch(epoch)
        self.steps_before = epoch.step
        self.progress.update(self.task, epoch=min(epoch.number + 1, epoch.epochs))


def _figures(epoch: Epoch) -> dict[str, Any]:
    figures = epoch.to_dict()
    return {"epoch": figures.pop("number")} | figures


def download_progress(progress: str) -> DownloadProgress | None:
    """Return a callback that shows downloads on the terminal; None for JSON and without a terminal."""
    if progress not in ("bar", "lines") or not sys.stderr.isatty():
        return None

    def show(name: str, have: int, total: int) -> None:
        share = f"{have / total:.0%}" if total else f"{have:,} bytes"
        sys.stderr.write(f"\r{name}: {share}" + ("\n" if have == total else ""))

    return show


REPORTERS: dict[str, type[NullReporter]] = {
    "bar": BarReporter,
    "lines": LineReporter,
    "jsonl": JsonReporter,
    "none": NullReporter,
}
