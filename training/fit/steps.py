"""The steps of one epoch: batches, gradients, updates, and the score on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from training.errors import ConfigError, DivergedError
from training.fit.batches import Examples
from training.fit.config import FitConfig
from training.fit.history import Score
from training.fit.optim import descend
from training.fit.schedules import Schedule
from training.nn.mlp import CHUNK, MLP, MLPConfig
from training.types import Labels

if TYPE_CHECKING:
    from training.augment.geometry import Augment
    from training.fit.distill import Teach
    from training.fit.loop import Run

OnStep = Callable[[int, int, Score], None]
"""Called with (step, steps, the epoch's mean loss and accuracy so far) within an epoch."""

DIVERGED = 1e6
"""How many times its first value (or 1, if that is more) a loss may reach before the run counts as diverged."""


def steps_per_epoch(network: MLPConfig, count: int, config: FitConfig) -> int:
    """Count the steps of an epoch over `count` examples.

    Raises ConfigError where batch normalization would see batches of one example, which it turns into zeros.
    """
    least = smallest_batch(network)
    if min(config.batch_size, count) < least:
        raise ConfigError(
            f"batch_norm needs batches of at least {least} examples, not {min(config.batch_size, count)}; "
            "raise batch_size or turn batch_norm off",
            field="batch_size",
        )
    if config.steps_per_epoch:
        return config.steps_per_epoch
    whole, rest = divmod(count, config.batch_size)
    return whole + (rest >= least)


def smallest_batch(network: MLPConfig) -> int:
    """Return the smallest batch that a network can learn from: 2 with batch normalization, else 1."""
    return 2 if network.batch_norm and len(network.layers) > 2 else 1


def learn(
    run: Run,
    learner: MLP,
    examples: Examples,
    config: FitConfig,
    schedule: Schedule,
    steps: int,
    augment: Augment | None,
    teach: Teach | None,
    on_step: OnStep | None,
) -> tuple[int, Score]:
    """Make an epoch's steps; return how many examples were seen, and the mean score over them.

    Raises DivergedError, which names the step, when a loss or a weight is no longer finite, or when the mean loss is
    DIVERGED times what it was at first.
    """
    loss_sum, right, seen, score = 0.0, 0.0, 0, Score(math.nan, None)
    first_loss = run.history[0].train.loss if run.history else None
    if config.max_steps:
        steps = min(steps, config.max_steps - run.step)
    batches = _batches(run.rng, len(examples.x), config, steps, smallest_batch(learner.config))
    for number, rows in enumerate(batches, start=1):
        x, targets, weights = examples.batch(rows)
        if augment:
            x = augment(x, run.rng)
        wanted = teach(examples.loss, x) if teach else examples.loss
        try:
            loss, outputs = learner.backpropagate(wanted, x, targets, weights, run.rng)
            descend(
                run.optimizer,
                learner.parameters,
                learner.gradients,
                schedule(run.step),
                decayed=learner.weight_count,
                l2=config.l2,
                weight_decay=config.weight_decay,
            )
        except FloatingPointError as error:
            raise _diverged(run, number, "is no longer a finite number") from error
        if not math.isfinite(loss):
            raise _diverged(run, number, "is no longer a finite number")
        run.step += 1
        seen += len(rows)
        loss_sum += loss * len(rows)
        right += examples.right(outputs, targets) if examples.right else 0.0
        score = Score(loss_sum / seen, right / seen if examples.right else None)
        first_loss = loss if first_loss is None else first_loss
        if score.loss > DIVERGED * max(first_loss, 1.0):
            raise _diverged(run, number, f"rose from {first_loss:.4g} to {score.loss:.4g}")
        if on_step:
            on_step(number, steps, score)
    return seen, score


def _diverged(run: Run, step: int, how: str) -> DivergedError:
    return DivergedError(
        f"training diverged in epoch {len(run.history) + 1}, step {step}: the loss {how}; "
        "lower the learning rate or check the scale of the data"
    )


def _batches(rng: np.random.Generator, count: int, config: FitConfig, steps: int, least: int) -> Iterator[Labels]:
    """Yield the rows of each batch: random draws, or a shuffle cut into pieces, the last of which may be short.

    Where fewer than `least` rows would be left for the last piece, they join the one before.
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
        stop = count if left < least else start + size
        yield order[start:stop]
        start = stop


def score_of(network: MLP, examples: Examples) -> Score:
    """Measure loss and accuracy without learning, in chunks."""
    loss_sum, right = 0.0, 0.0
    for start in range(0, len(examples.x), CHUNK):
        rows = slice(start, start + CHUNK)
        x, targets = examples.x[rows], examples.targets[rows]
        seen = network.outputs(x) if examples.loss.sees == "outputs" else network.forward(x)[0]
        loss_sum += examples.loss.function(seen, targets, None)[0] * len(x)
        right += examples.right(seen, targets) if examples.right else 0.0
    return Score(loss_sum / len(examples.x), right / len(examples.x) if examples.right else None)
