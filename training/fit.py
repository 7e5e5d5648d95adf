"""Training: show the network batches of examples, and move it a little after each.

`train` is a generator of epochs: whoever loops over it may print, save, or stop. `fit` is that loop for those who
want none of this. All that moves while training is in one `Run`, so that a checkpoint of it resumes bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from training.arrays import Floats, Labels, Targets
from training.callbacks import Callback, Epoch, best_epoch, stop_reason
from training.distillation import Teach
from training.errors import ConfigError
from training.examples import Examples, Given, hold_out, prepare
from training.fit_config import FitConfig
from training.narrow import input_order, reach, reordered, sorted_inputs
from training.network import MLP
from training.optimizers import Optimizer
from training.random_streams import hold_out_rng, training_rng
from training.schedules import Schedule
from training.steps import OnStep, learn, score_of, steps_per_epoch
from training.warp import Augment


@dataclass
class Run:
    """All that moves while training."""

    network: MLP
    """What is trained; it has the weights of the last epoch."""
    optimizer: Optimizer
    rng: np.random.Generator
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Floats] | None = None
    """The network's arrays after its best epoch, when they are to be kept."""
    shares_streams: bool = False
    """Whether the validation share is drawn from the seed's own bits, as in runs begun by release 1."""

    @classmethod
    def start(cls, network: MLP, config: FitConfig) -> Run:
        """Begin a run at step 0."""
        return cls(network, config.make_optimizer(network.parameters), training_rng(config.seed))


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
) -> Iterator[Epoch]:
    """Yield an Epoch after each pass over the examples, until the config says enough.

    A run that has a history goes on where it stopped. With `config.keep_best` the network has the weights of its
    best epoch when the last one is yielded. Within an epoch the network may still have the weights of the one before
    (see `narrow`).

    Raises ConfigError for settings that do not fit the network, DataError for examples that do not (shapes, numbers
    that are not finite, labels out of range), DivergedError when the loss leaves the finite numbers or rises a
    millionfold.
    """
    if validation is None and config.validation_share:
        rng = np.random.default_rng(config.seed) if run.shares_streams else hold_out_rng(config.seed)
        examples, sample_weights, validation = hold_out(run.network, examples, sample_weights, config, rng)
    if config.patience and validation is None:
        raise ConfigError(
            "patience counts validations: give validation examples or a validation_share", field="patience"
        )
    learned = prepare(run.network, examples, config, sample_weights)
    held_out = prepare(run.network, validation, config, smooth=False) if validation else None
    # A deformation sees whole pictures, and may change inputs that are 0; a teacher sees whole pictures, too.
    order = None if augment or teach else input_order(run.network, learned.x)
    if order is not None:
        x = sorted_inputs(learned.x, order)
        learned = replace(learned, x=x, reach=reach(x))
    steps = steps_per_epoch(run.network.config, len(learned.x), config)
    whole_run = steps * config.epochs
    schedule = config.make_schedule(min(config.max_steps or whole_run, whole_run))
    if run.best and stop_reason(config, run.history):  # resumed, but there is nothing left to learn
        restore(run.network, run.best)
    while not stop_reason(config, run.history):
        yield _epoch(run, learned, held_out, config, schedule, steps, augment, teach, on_step, order)


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
    order: Labels | None,
) -> Epoch:
    """Learn for an epoch, validate, and enter both in the run's history."""
    network, number, first_step = run.network, len(run.history) + 1, run.step
    before = network.parameters.copy()
    started = time.perf_counter()
    with nullcontext(network) if order is None else reordered(network, run.optimizer, order) as learner:
        # Underflow is a number too small to matter; everything else means that the run is lost.
        with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
            seen, score = learn(run, learner, learned, config, schedule, steps, augment, teach, on_step)
        seconds = time.perf_counter() - started
        score = score_of(learner, learned) if config.evaluate_training else score
    due = number % config.validation_every == 0 or number == config.epochs
    epoch = Epoch(
        number=number,
        epochs=config.epochs,
        step=run.step,
        train=score,
        validation=score_of(network, held_out) if held_out and due else None,
        learning_rate=schedule(max(run.step - 1, first_step)),
        update=float(np.abs(network.parameters - before).max()),
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
