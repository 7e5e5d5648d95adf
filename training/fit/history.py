"""What happens between epochs: the record of each, and the reasons to stop, which are functions of that record.

A callback is a function `(run, epoch)`, called after each epoch by `fit`. It stops the training by setting
`run.stop_training = True`, or by raising StopIteration.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from training.errors import ConfigError
from training.fit.config import FitConfig
from training.limits import shown

if TYPE_CHECKING:
    from training.fit.loop import Run

Callback = Callable[["Run", "Epoch"], None]


class Score(NamedTuple):
    """Mean loss over some examples, and the share that was right (None where nothing is right or wrong)."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Epoch:
    """What one epoch did."""

    number: int
    epochs: int
    """How many there will be at most."""
    step: int
    """Steps since the run began."""
    train: Score
    validation: Score | None
    """None when there are no validation examples, or when this epoch was not due."""
    learning_rate: float
    """Of its last step."""
    update: float
    """The largest change of any parameter over the epoch."""
    seconds: float
    """Of training, without validation."""
    images_per_second: float

    @property
    def judged(self) -> Score:
        """The score to choose by: validation where there is one, else training."""
        return self.validation or self.train

    def beats(self, other: "Epoch") -> bool:
        """Tell whether this epoch is better: by accuracy, and among equals by loss."""
        mine, theirs = self.judged, other.judged
        if mine.accuracy is None or theirs.accuracy is None or mine.accuracy == theirs.accuracy:
            return mine.loss < theirs.loss
        return mine.accuracy > theirs.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Give flat JSON values, such as `validation_accuracy`."""
        figures = asdict(self)
        for name in ("train", "validation"):
            score = figures.pop(name)
            figures |= {f"{name}_loss": score[0] if score else None, f"{name}_accuracy": score[1] if score else None}
        return figures


class History(list[Epoch]):
    """The epochs of a training, in order."""

    def columns(self) -> dict[str, list[Any]]:
        """Return each figure as a list with one value an epoch, such as `columns()["validation_loss"]`."""
        rows = [epoch.to_dict() for epoch in self]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def print_line(run: "Run", epoch: Epoch) -> None:  # noqa: ARG001 -- a callback
    """Print one line an epoch; a callback for `fit`."""
    parts = [f"epoch {epoch.number}/{epoch.epochs}", f"loss {epoch.train.loss:.4f}"]
    if epoch.train.accuracy is not None:
        parts.append(f"accuracy {epoch.train.accuracy:.2%}")
    if epoch.validation and epoch.validation.accuracy is not None:
        parts.append(f"validation accuracy {epoch.validation.accuracy:.2%}")
    sys.stdout.write("  ".join(parts) + "\n")


def as_callbacks(given: Callback | Sequence[Callback]) -> list[Callback]:
    """Return callbacks as a list; a single function is a list of one. Raises ConfigError for anything else."""
    callbacks = [given] if callable(given) else given
    if not isinstance(callbacks, Iterable) or not all(callable(callback) for callback in callbacks):
        raise ConfigError(
            f"callbacks must be functions (run, epoch), such as callbacks=[print_line], not {shown(given)}",
            field="callbacks",
        )
    return list(callbacks)


def best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """Find the first epoch that none beats, among those that were validated if any was."""
    candidates = [epoch for epoch in history if epoch.validation] or history
    best = None
    for epoch in candidates:
        if best is None or epoch.beats(best):
            best = epoch
    return best


def stop_reason(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Say why training is over, or None to go on."""
    if not history:
        return None
    for criterion in STOPPING_CRITERIA:
        reason = criterion(config, history)
        if reason:
            return reason
    return None


def all_epochs_done(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop after `epochs` epochs or `max_steps` steps."""
    if config.max_steps and history[-1].step >= config.max_steps:
        return f"{config.max_steps} steps are done"
    return f"{config.epochs} epochs are done" if len(history) >= config.epochs else None


def error_low_enough(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when the error rate has fallen to `stop_at_error`."""
    accuracy = history[-1].judged.accuracy
    if config.stop_at_error is None or accuracy is None or 1 - accuracy > config.stop_at_error:
        return None
    return f"the error rate is {1 - accuracy:.4f}"


def update_small_enough(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when no parameter moves any more than `stop_at_update`."""
    if config.stop_at_update is None or history[-1].update > config.stop_at_update:
        return None
    return f"no parameter moved by more than {history[-1].update:.3g}"


def no_longer_improving(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop early when the last `patience` validations brought no new best (Prechelt 1998)."""
    validated = [epoch for epoch in history if epoch.validation]
    best = best_epoch(validated)
    if config.patience is None or best is None:
        return None
    since = sum(epoch.number > best.number for epoch in validated)
    return f"no better than epoch {best.number} for {since} validations" if since >= config.patience else None


def time_is_up(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when training has taken `max_seconds`."""
    seconds = sum(epoch.seconds for epoch in history)
    if config.max_seconds is None or seconds < config.max_seconds:
        return None
    return f"{seconds:.1f} s are over"


STOPPING_CRITERIA = (all_epochs_done, error_low_enough, update_small_enough, no_longer_improving, time_is_up)
