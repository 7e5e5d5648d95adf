"""The history of a training, with one Epoch per epoch, and callbacks.

A callback is a function `(state, epoch)` that `fit` calls after each epoch. It stops training by setting
`state.stop_training = True`, or by raising StopIteration.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from training.deprecation import renamed
from training.errors import ConfigError
from training.limits import shown

if TYPE_CHECKING:
    from training.fit.loop import TrainingState

Callback = Callable[["TrainingState", "Epoch"], None]
"""Called by `fit` after each epoch."""


class LossAndAccuracy(NamedTuple):
    """Mean loss over some examples, and the fraction that is correct (None for targets that are not classes)."""

    loss: float
    accuracy: float | None


@renamed(judged="monitored", beats="is_better_than")
@dataclass(frozen=True)
class Epoch:
    """The results of one epoch."""

    number: int
    epochs: int
    """The most epochs that there will be."""
    step: int
    """Steps since the beginning of training."""
    train: LossAndAccuracy
    validation: LossAndAccuracy | None
    """None without validation examples, or if this epoch was not due for validation."""
    learning_rate: float
    """The learning rate of its last step."""
    update: float
    """The largest change of any parameter over the epoch."""
    seconds: float
    """Training time, without validation."""
    images_per_second: float

    @property
    def monitored(self) -> LossAndAccuracy:
        """The score that decides which epoch is best: validation if there is one, else training."""
        return self.validation or self.train

    def is_better_than(self, other: "Epoch") -> bool:
        """Compare by accuracy, and equal accuracies by loss."""
        mine, theirs = self.monitored, other.monitored
        if mine.accuracy is None or theirs.accuracy is None or mine.accuracy == theirs.accuracy:
            return mine.loss < theirs.loss
        return mine.accuracy > theirs.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return flat JSON values, such as `validation_accuracy`."""
        values = asdict(self)
        for name in ("train", "validation"):
            score = values.pop(name)
            values |= {f"{name}_loss": score[0] if score else None, f"{name}_accuracy": score[1] if score else None}
        return values


class History(list[Epoch]):
    """The epochs of a training, in order."""

    def columns(self) -> dict[str, list[Any]]:
        """Return each metric as a list with one value per epoch, such as `columns()["validation_loss"]`."""
        rows = [epoch.to_dict() for epoch in self]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def print_line(state: "TrainingState", epoch: Epoch) -> None:  # noqa: ARG001 -- signature shared by all callbacks
    """Print one line per epoch; a callback for `fit`."""
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
            f"callbacks must be functions (state, epoch), such as callbacks=[print_line], not {shown(given)}",
            field="callbacks",
        )
    return list(callbacks)


def best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """Return the best epoch, the first of equals; if any was validated, only those count."""
    candidates = [epoch for epoch in history if epoch.validation] or history
    best = None
    for epoch in candidates:
        if best is None or epoch.is_better_than(best):
            best = epoch
    return best
