"""Stopping criteria: functions `(config, history) → reason to stop, or None`."""

from collections.abc import Sequence

from training.fit.config import FitConfig
from training.fit.history import Epoch, best_epoch


def stop_reason(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Return why training is over, or None to continue."""
    if not history:
        return None
    return next((reason for criterion in STOPPING_CRITERIA if (reason := criterion(config, history))), None)


def epoch_limit(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop after `epochs` epochs or `max_steps` steps."""
    if config.max_steps and history[-1].step >= config.max_steps:
        return f"{config.max_steps} steps are done"
    return f"{config.epochs} epochs are done" if len(history) >= config.epochs else None


def target_error(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when the error rate has fallen to `stop_at_error`."""
    accuracy = history[-1].monitored.accuracy
    if config.stop_at_error is None or accuracy is None or 1 - accuracy > config.stop_at_error:
        return None
    return f"the error rate is {1 - accuracy:.4f}"


def converged(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when no parameter changes by more than `stop_at_update` over an epoch."""
    if config.stop_at_update is None or history[-1].update > config.stop_at_update:
        return None
    return f"no parameter moved by more than {history[-1].update:.3g}"


def early_stopping(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop after `patience` validations without a new best (Prechelt 1998)."""
    validated = [epoch for epoch in history if epoch.validation]
    best = best_epoch(validated)
    if config.patience is None or best is None:
        return None
    since = sum(epoch.number > best.number for epoch in validated)
    return f"no better than epoch {best.number} for {since} validations" if since >= config.patience else None


def time_limit(config: FitConfig, history: Sequence[Epoch]) -> str | None:
    """Stop when training has taken `max_seconds`."""
    seconds = sum(epoch.seconds for epoch in history)
    if config.max_seconds is None or seconds < config.max_seconds:
        return None
    return f"{seconds:.1f} s are over"


STOPPING_CRITERIA = (epoch_limit, target_error, converged, early_stopping, time_limit)
