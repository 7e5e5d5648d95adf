"""Progress within an epoch: step, speed and time left, reported a few times per second at most."""

import time
from collections.abc import Callable
from typing import Any

from training.fit.config import FitConfig
from training.fit.history import LossAndAccuracy


class Pace:
    """Measures the speed of a run and estimates the time left."""

    def __init__(
        self,
        config: FitConfig,
        epochs_done: int = 0,
        *,
        every_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start after `epochs_done` epochs."""
        self._config, self._epoch, self._every, self._clock = config, epochs_done + 1, every_seconds, clock
        self._steps_made = 0
        self._began = self._epoch_began = self._reported = clock()

    def on_step(self, step: int, steps: int, score: LossAndAccuracy) -> dict[str, Any] | None:
        """Count a step; return the progress if a report is due. The time left assumes no early stopping."""
        self._steps_made += 1
        now = self._clock()
        if now - self._reported < self._every:
            return None
        self._reported = now
        config, pace = self._config, (now - self._began) / self._steps_made
        left = steps - step + steps * (config.epochs - self._epoch)
        seconds_left = pace * (min(left, config.max_steps - self._steps_made) if config.max_steps else left)
        if config.max_seconds is not None:
            seconds_left = min(seconds_left, max(config.max_seconds - (now - self._began), 0))
        return {
            "epoch": self._epoch,
            "epochs": config.epochs,
            "step": step,
            "steps": steps,
            "train_loss": score.loss,
            "train_accuracy": score.accuracy,
            "images_per_second": step * config.batch_size / max(now - self._epoch_began, 1e-9),
            "seconds_left": round(seconds_left, 1),
        }

    def epoch(self) -> None:
        """Count an epoch."""
        self._epoch += 1
        self._epoch_began = self._clock()
