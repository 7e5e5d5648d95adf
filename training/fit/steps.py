"""The steps of one epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from training.errors import ConfigError, DivergedError
from training.fit.config import FitConfig
from training.fit.history import LossAndAccuracy
from training.fit.optim import apply_update
from training.fit.schedules import Schedule
from training.inputs.examples import Examples
from training.nn.config import MLPConfig
from training.nn.losses import Loss
from training.nn.mlp import MLP, PREDICT_BATCH
from training.types import Floats, Labels

if TYPE_CHECKING:
    from training.augment.geometry import Augment
    from training.fit.loop import TrainingState

OnStep = Callable[[int, int, LossAndAccuracy], None]
"""Called after each step with (step, steps, the epoch's mean loss and accuracy so far)."""

LossTransform = Callable[[Loss, Floats], Loss]
"""Replaces the loss for a batch of inputs (n, features); see `recipes.distillation`."""

DIVERGED = 1e6
"""Training has diverged when the loss is so many times its first value (or 1, if that is larger)."""


def steps_per_epoch(network: MLPConfig, count: int, config: FitConfig) -> int:
    """Return the number of steps of an epoch over `count` examples.

    Raises ConfigError if batch normalisation would get batches of one example, whose variance is zero.
    """
    smallest = smallest_batch(network)
    if min(config.batch_size, count) < smallest:
        raise ConfigError(
            f"batch_norm needs batches of at least {smallest} examples, not {min(config.batch_size, count)}; "
            "raise batch_size or turn batch_norm off",
            field="batch_size",
        )
    if config.steps_per_epoch:
        return config.steps_per_epoch
    full, rest = divmod(count, config.batch_size)
    return full + (rest >= smallest)


def smallest_batch(network: MLPConfig) -> int:
    """Return the smallest batch size that a network can be trained with: 2 with batch normalisation, else 1."""
    return 2 if network.batch_norm and len(network.layers) > 2 else 1


def run_steps(
    state: TrainingState,
    network: MLP,
    examples: Examples,
    config: FitConfig,
    schedule: Schedule,
    steps: int,
    augment: Augment | None,
    loss_transform: LossTransform | None,
    on_step: OnStep | None,
) -> tuple[int, LossAndAccuracy]:
    """Train `network` for an epoch; return the number of examples and the mean score over them.

    Raises DivergedError, which names the step, when the loss or a weight is not finite, or the mean loss is DIVERGED
    times its first value.
    """
    loss_sum, correct, seen, score = 0.0, 0.0, 0, LossAndAccuracy(math.nan, None)
    first_loss = state.history[0].train.loss if state.history else None
    if config.max_steps:
        steps = min(steps, config.max_steps - state.step)
    batches = _batches(state.rng, len(examples.x), config, steps, smallest_batch(network.config))
    for number, rows in enumerate(batches, start=1):
        x, targets, weights = examples.batch(rows)
        if augment:
            x = augment(x, state.rng)
        loss_function = loss_transform(examples.loss, x) if loss_transform else examples.loss
        try:
            loss, predictions = network.loss_and_gradients(loss_function, x, targets, weights, state.rng)
            apply_update(state.optimizer, network.parameters, network.gradients, schedule(state.step))
        except FloatingPointError as error:
            raise _diverged(state, number, "is no longer a finite number") from error
        if not math.isfinite(loss):
            raise _diverged(state, number, "is no longer a finite number")
        state.step += 1
        seen += len(rows)
        loss_sum += loss * len(rows)
        correct += examples.count_correct(predictions, targets) if examples.count_correct else 0.0
        score = LossAndAccuracy(loss_sum / seen, correct / seen if examples.count_correct else None)
        first_loss = loss if first_loss is None else first_loss
        if score.loss > DIVERGED * max(first_loss, 1.0):
            raise _diverged(state, number, f"rose from {first_loss:.4g} to {score.loss:.4g}")
        if on_step:
            on_step(number, steps, score)
    return seen, score


def _diverged(state: TrainingState, step: int, how: str) -> DivergedError:
    return DivergedError(
        f"training diverged in epoch {len(state.history) + 1}, step {step}: the loss {how}; "
        "lower the learning rate or check the scale of the data"
    )


def _batches(rng: np.random.Generator, count: int, config: FitConfig, steps: int, smallest: int) -> Iterator[Labels]:
    """Yield the row numbers of each batch: draws with replacement, or slices of a shuffle, the last perhaps shorter.

    If fewer than `smallest` rows would be left for the last batch, they join the one before.
    """
    size = config.batch_size
    if config.replacement:
        yield from rng.integers(count, size=(steps, size))
        return
    start = count
    for _ in range(steps):
        if start >= count:
            order, start = (rng.permutation(count) if config.shuffle else np.arange(count)), 0
        left = count - start - size
        stop = count if left < smallest else start + size
        yield order[start:stop]
        start = stop


def evaluate_loss(network: MLP, examples: Examples) -> LossAndAccuracy:
    """Return the mean loss and the accuracy in inference mode, computed in batches."""
    loss_sum, correct = 0.0, 0.0
    for start in range(0, len(examples.x), PREDICT_BATCH):
        rows = slice(start, start + PREDICT_BATCH)
        x, targets = examples.x[rows], examples.targets[rows]
        takes_outputs = examples.loss.takes == "outputs"
        predictions = network.forward_with_output(x) if takes_outputs else network.forward(x)[0]
        loss_sum += examples.loss.function(predictions, targets, None)[0] * len(x)
        correct += examples.count_correct(predictions, targets) if examples.count_correct else 0.0
    count = len(examples.x)
    return LossAndAccuracy(loss_sum / count, correct / count if examples.count_correct else None)
