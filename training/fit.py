"""Training: show the network batches of examples, and move it a little after each.

`train` is a generator of epochs: whoever loops over it may print, save, or stop. `fit` is that loop for those who
want none of this. All that moves while training is in one `Run`, so that a checkpoint of it resumes bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from training.arrays import Floats, Labels, Targets
from training.callbacks import Callback, Epoch, Score, best_epoch, stop_reason
from training.distillation import Teach
from training.errors import DivergedError
from training.examples import Examples, Given, hold_out, prepare
from training.fit_config import FitConfig
from training.narrow import narrowed, reach, speaking_columns, widen
from training.network import CHUNK, MLP
from training.optimizers import Optimizer, descend
from training.schedules import Schedule
from training.warp import Augment

OnStep = Callable[[int, int, Score], None]
"""Called with (step, steps, the epoch's mean loss and accuracy so far) within an epoch."""


@dataclass
class Run:
    """All that moves while training."""

    network: MLP
    """What is trained, and has the weights of the last epoch."""
    learner: MLP
    """What moves: the network itself, or its narrower copy (see `narrow`)."""
    optimizer: Optimizer
    rng: np.random.Generator
    columns: Labels | None = None
    """The inputs that the learner sees; None for all."""
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Floats] | None = None
    """The network's arrays after its best epoch, when they are to be kept."""

    @classmethod
    def start(cls, network: MLP, config: FitConfig) -> Run:
        """Begin a run at step 0."""
        optimizer = config.make_optimizer(network.parameters)
        return cls(network, network, optimizer, np.random.default_rng(config.seed))

    def narrow(self, columns: Labels, config: FitConfig) -> None:
        """Learn with a copy of the network that sees these inputs alone."""
        self.learner, self.columns = narrowed(self.network, columns), columns
        self.optimizer = config.make_optimizer(self.learner.parameters)

    def settle(self) -> None:
        """Give the network what the learner has learned."""
        if self.columns is not None:
            widen(self.network, self.learner, self.columns)


def fit(
    network: MLP,
    x: Floats,
    y: Targets,
    config: FitConfig | None = None,
    *,
    validation: Given | None = None,
    sample_weights: Floats | None = None,
    augment: Augment | None = None,
    teach: Teach | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[Epoch]:
    """Train to the end and answer the history; the network is left with its last or best weights.

    x is (n, features), y class numbers (n,) or numbers (n, k). See `train` for the rest and for what is raised.
    """
    config = config or FitConfig()
    run = Run.start(network, config)
    for epoch in train(
        run, (x, y), config, validation=validation, sample_weights=sample_weights, augment=augment, teach=teach
    ):
        for callback in callbacks:
            callback(run, epoch)
    return run.history


def train(
    run: Run,
    examples: Given,
    config: FitConfig,
    *,
    validation: Given | None = None,
    sample_weights: Floats | None = None,
    augment: Augment | None = None,
    teach: Teach | None = None,
    on_step: OnStep | None = None,
    fresh: bool = True,
) -> Iterator[Epoch]:
    """Yield an Epoch after each pass over the examples, until the config says enough.

    A run that has a history goes on where it stopped. With `config.keep_best` the network has the weights of its
    best epoch when the last one is yielded. A network that is not `fresh`, but has learned before, keeps what it knows
    of inputs that these examples leave silent.

    Raises ConfigError for settings that do not fit the network, DataError for examples that do not (shapes, numbers
    that are not finite, labels out of range), DivergedError when the loss leaves the finite numbers.
    """
    if validation is None and config.validation_share:
        examples, sample_weights, validation = hold_out(examples, sample_weights, config)
    learned = prepare(run.network, examples, config, sample_weights)
    held_out = prepare(run.network, validation, config, smooth=False) if validation else None
    # A deformation sees whole pictures, and may make silent inputs speak; a teacher sees whole pictures, too.
    if run.step == 0 and fresh and not augment and not teach:
        columns = speaking_columns(run.network, learned.x)
        if columns is not None:
            run.narrow(columns, config)
    if run.columns is not None:
        x = np.take(learned.x, run.columns, axis=1)
        learned = replace(learned, x=x, reach=reach(x))
    steps = config.steps_per_epoch or math.ceil(len(learned.x) / config.batch_size)
    schedule = config.make_schedule(config.max_steps or steps * config.epochs)
    if run.best and stop_reason(config, run.history):  # resumed, but there is nothing left to learn
        restore(run.network, run.best)
    while not stop_reason(config, run.history):
        yield _epoch(run, learned, held_out, config, schedule, steps, augment, teach, on_step)


def restore(network: MLP, arrays: dict[str, Floats]) -> None:
    """Put arrays, named as `network.arrays()` names them, back into the network."""
    for name, array in network.arrays().items():
        array[:] = arrays[name]


def _epoch(
    run: Run,
    learned: Examples,
    held_out: Examples | None,
    config: FitConfig,
    schedule: Schedule,
    steps: int,
    augment: Augment | None,
    teach: Teach | None,
    on_step: OnStep | None,
) -> Epoch:
    """Learn for an epoch, validate, and enter both in the run's history."""
    network, number, first_step = run.network, len(run.history) + 1, run.step
    before = run.learner.parameters.copy()
    started = time.perf_counter()
    # Underflow is a number too small to matter; everything else means that the run is lost.
    with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        seen, score = _learn(run, learned, config, schedule, steps, augment, teach, on_step)
    seconds = time.perf_counter() - started
    run.settle()
    due = number % config.validation_every == 0 or number == config.epochs
    epoch = Epoch(
        number=number,
        epochs=config.epochs,
        step=run.step,
        train=score_of(run.learner, learned) if config.evaluate_training else score,
        validation=score_of(network, held_out) if held_out and due else None,
        learning_rate=schedule(max(run.step - 1, first_step)),
        update=float(np.abs(run.learner.parameters - before).max()),
        seconds=seconds,
        images_per_second=seen / seconds,
    )
    run.history.append(epoch)
    if config.keep_best:
        if best_epoch(run.history) is epoch:
            run.best = {name: array.copy() for name, array in network.arrays().items()}
        if run.best and stop_reason(config, run.history):
            restore(network, run.best)
    return epoch


def _learn(
    run: Run,
    examples: Examples,
    config: FitConfig,
    schedule: Schedule,
    steps: int,
    augment: Augment | None,
    teach: Teach | None,
    on_step: OnStep | None,
) -> tuple[int, Score]:
    """Make an epoch's steps; answer how many examples were seen, and how the network did on its way."""
    learner, loss_sum, right, seen = run.learner, 0.0, 0.0, 0
    if config.max_steps:
        steps = min(steps, config.max_steps - run.step)
    for number, rows in enumerate(_batches(run.rng, len(examples.x), config, steps), start=1):
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
            raise _diverged(run, number) from error
        if not math.isfinite(loss):
            raise _diverged(run, number)
        run.step += 1
        seen += len(rows)
        loss_sum += loss * len(rows)
        right += examples.right(outputs, targets) if examples.right else 0.0
        if on_step:
            on_step(number, steps, Score(loss_sum / seen, right / seen if examples.right else None))
    return seen, Score(loss_sum / seen, right / seen if examples.right else None)


def _diverged(run: Run, step: int) -> DivergedError:
    return DivergedError(
        f"training diverged in epoch {len(run.history) + 1}, step {step}: the loss is no longer a finite number; "
        "lower the learning rate or check the scale of the data"
    )


def _batches(rng: np.random.Generator, count: int, config: FitConfig, steps: int) -> Iterator[Labels]:
    """Yield the rows of each batch: random draws, or a shuffle cut into pieces, the last of which may be short."""
    size = config.batch_size
    if config.replacement:
        yield from rng.integers(count, size=(steps, size))
        return
    start = count
    for _ in range(steps):
        if start >= count:
            order, start = (rng.permutation(count) if config.shuffle else np.arange(count)), 0
        yield order[start : start + size]
        start += size


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
