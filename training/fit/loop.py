"""Training: minibatch gradient descent over epochs.

`train` is a generator of epochs: its caller may print, save or stop after each. `fit` is that loop with callbacks.
`Run` holds the whole state of a training, so that one resumed from a checkpoint ends with the same bytes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training.augment.geometry import Augment
from training.class_labels import encode, learn_classes
from training.errors import ConfigError
from training.fit.active_inputs import input_order, reach, reordered, sorted_inputs
from training.fit.batches import Examples, Given, hold_out, pair, prepare
from training.fit.config import FitConfig
from training.fit.distill import Teach
from training.fit.history import Callback, Epoch, History, as_callbacks, best_epoch, stop_reason
from training.fit.optim import Optimizer
from training.fit.schedules import Schedule
from training.fit.steps import OnStep, learn, score_of, steps_per_epoch
from training.nn.mlp import MLP
from training.random_streams import hold_out_rng, training_rng
from training.types import Floats, Labels


@dataclass
class Run:
    """The state of a training."""

    network: MLP
    """The network being trained, with the weights of the last epoch."""
    optimizer: Optimizer
    rng: np.random.Generator
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Floats] | None = None
    """The network's arrays after its best epoch, when they are to be kept."""
    shares_streams: bool = False
    """Whether the validation share is drawn from the seed's own bits, as in runs begun by release 1."""
    stop_training: bool = False
    """Set to True, in a callback or between two epochs of `train`, to end the training."""

    @classmethod
    def start(cls, network: MLP, config: FitConfig) -> Run:
        """Begin a run at step 0."""
        return cls(network, config.make_optimizer(network.parameters), training_rng(config.seed))


def fit(
    network: MLP,
    x: Any,
    y: Any,
    config: FitConfig | None = None,
    *,
    validation: Given | None = None,
    sample_weight: Any = None,
    augment: Augment | None = None,
    teach: Teach | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    **settings: Any,
) -> History:
    """Train a network and return the history; the network has its last or, with `keep_best`, its best weights.

    x is an array-like of shape (n, features); y has labels of any type (n,), or numbers (n, k). Other keywords are
    settings of FitConfig, which override those of `config`: `fit(network, x, y, epochs=3)`. A network that was trained
    before goes on from its weights. See `train` for the other arguments and for what is raised.
    """
    if "sample_weights" in settings:
        sample_weight = _former_sample_weights(settings.pop("sample_weights"))
    config = (config or FitConfig()).replace(**settings)
    functions = as_callbacks(callbacks)
    run = Run.start(network, config)
    for epoch in train(
        run, (x, y), config, validation=validation, sample_weight=sample_weight, augment=augment, teach=teach
    ):
        try:
            for function in functions:
                function(run, epoch)
        except StopIteration:
            run.stop_training = True
    return History(run.history)


def _former_sample_weights(value: Any) -> Any:
    warnings.warn("sample_weights is deprecated; use sample_weight", DeprecationWarning, stacklevel=3)
    return value


def train(
    run: Run,
    examples: Given,
    config: FitConfig,
    *,
    validation: Given | None = None,
    sample_weight: Any = None,
    augment: Augment | None = None,
    teach: Teach | None = None,
    on_step: OnStep | None = None,
    sample_weights: Any = None,
) -> Iterator[Epoch]:
    """Yield an Epoch after each pass over the examples, until a stopping criterion of the config holds.

    A run that has a history continues after its last epoch. With `config.keep_best` the network has the weights of its
    best epoch when the last one is yielded. Within an epoch the network may still have the weights of the one before
    (see `narrow`). `sample_weights` is the former name of `sample_weight`.

    Raises ConfigError for settings that do not fit the network, DataError for examples that do not (shapes, numbers
    that are not finite, unknown labels), DivergedError when the loss is not finite or rises a millionfold.
    """
    if sample_weights is not None:
        sample_weight = _former_sample_weights(sample_weights)
    outputs = run.network.config.layers[-1]
    are_classes = outputs > 1 or config.loss == "binary_cross_entropy"
    x, y = pair(examples)
    classes = learn_classes(run.network, y, are_classes=are_classes)
    examples = x, encode(classes, y, outputs, are_classes=are_classes)
    if validation is not None:
        x, y = pair(validation)
        validation = x, encode(classes, y, outputs, are_classes=are_classes)
    if validation is None and config.validation_share:
        rng = np.random.default_rng(config.seed) if run.shares_streams else hold_out_rng(config.seed)
        examples, sample_weight, validation = hold_out(run.network, examples, sample_weight, config, rng)
    if config.patience and validation is None:
        raise ConfigError(
            "patience counts validations: give validation examples or a validation_share", field="patience"
        )
    learned = prepare(run.network, examples, config, sample_weight)
    held_out = prepare(run.network, validation, config, smooth=False) if validation else None
    # A deformation sees whole pictures, and may change inputs that are 0; a teacher sees whole pictures, too.
    order = None if augment or teach else input_order(run.network, learned.x)
    if order is not None:
        x = sorted_inputs(learned.x, order)
        learned = replace(learned, x=x, reach=reach(x))
    steps = steps_per_epoch(run.network.config, len(learned.x), config)
    whole_run = steps * config.epochs
    schedule = config.make_schedule(min(config.max_steps or whole_run, whole_run))
    run.network.classes_, run.stop_training = classes, False
    while not run.stop_training and not stop_reason(config, run.history):
        yield _epoch(run, learned, held_out, config, schedule, steps, augment, teach, on_step, order)
    if run.best:
        restore(run.network, run.best)


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
