"""The training loop: batches, gradients, updates.

`train` is a generator of epochs, so its caller may print, save or stop. `fit` wraps it for those who need none of this.
Everything that changes during training is in one `TrainingState`, from which training resumes bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.augment.geometry import Augment
from training.deprecation import renamed_argument
from training.errors import ConfigError
from training.fit.config import FitConfig
from training.fit.history import Callback, Epoch, History, as_callbacks, best_epoch
from training.fit.optim import UpdateRule
from training.fit.schedules import Schedule
from training.fit.steps import LossTransform, OnStep, evaluate_loss, run_steps, steps_per_epoch
from training.fit.stopping import stop_reason
from training.inputs.active_inputs import active_network, sort_inputs
from training.inputs.class_labels import encode, learn_classes
from training.inputs.examples import XY, Examples, check_and_encode, pair, split_validation
from training.nn.mlp import MLP
from training.random_streams import hold_out_rng, training_rng
from training.types import Floats


@dataclass
class TrainingState:
    """Everything that changes during training."""

    network: MLP
    """The network being trained, with the weights of the last epoch."""
    optimizer: UpdateRule
    rng: np.random.Generator
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Floats] | None = None
    """The network's arrays after its best epoch, with `restore_best_weights`."""
    shares_streams: bool = False
    """Whether the validation split uses the generator of release 1, as in runs that were started by it."""
    stop_training: bool = False
    """Set to True, in a callback or between two epochs of `train`, to end training."""

    @classmethod
    def start(cls, network: MLP, config: FitConfig) -> TrainingState:
        """Return the state at step 0."""
        optimizer = config.make_optimizer(network.parameters, network.n_weights)
        return cls(network, optimizer, training_rng(config.seed))


def fit(
    network: MLP,
    x: Any,
    y: Any,
    config: FitConfig | None = None,
    *,
    validation: XY | None = None,
    sample_weight: Any = None,
    augment: Augment | None = None,
    loss_transform: LossTransform | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    **settings: Any,
) -> History:
    """Train a network and return the history; the network has its last or, with `keep_best`, its best weights.

    x is an array-like of shape (n, features); y has labels of any type (n,), or numbers (n, k). Other keywords are
    settings of FitConfig, which override those of `config`: `fit(network, x, y, epochs=3)`. A network that was trained
    before continues from its weights. See `train` for the other arguments and for errors.
    """
    if "sample_weights" in settings:
        sample_weight = renamed_argument("sample_weights", "sample_weight", settings.pop("sample_weights"))
    if "teach" in settings:
        loss_transform = renamed_argument("teach", "loss_transform", settings.pop("teach"))
    config = (config or FitConfig()).replace(**settings)
    functions = as_callbacks(callbacks)
    state = TrainingState.start(network, config)
    for epoch in train(
        state,
        (x, y),
        config,
        validation=validation,
        sample_weight=sample_weight,
        augment=augment,
        loss_transform=loss_transform,
    ):
        try:
            for function in functions:
                function(state, epoch)
        except StopIteration:
            state.stop_training = True
    return History(state.history)


def train(
    state: TrainingState,
    examples: XY,
    config: FitConfig,
    *,
    validation: XY | None = None,
    sample_weight: Any = None,
    augment: Augment | None = None,
    loss_transform: LossTransform | None = None,
    on_step: OnStep | None = None,
    sample_weights: Any = None,
) -> Iterator[Epoch]:
    """Train, yielding an Epoch after each pass over the examples, until a stopping criterion is met.

    A state with a history continues after its last epoch. With `config.keep_best` the network has the weights of its
    best epoch when the last one is yielded. While an epoch runs, the network may still have the weights of the one
    before. `sample_weights` is the former name of `sample_weight`.

    Raises ConfigError for settings that do not fit the network, DataError for examples that do not (shapes, numbers
    that are not finite, unknown labels), DivergedError when the loss is not finite or rises a millionfold.
    """
    if sample_weights is not None:
        sample_weight = renamed_argument("sample_weights", "sample_weight", sample_weights)
    network, outputs = state.network, state.network.config.layers[-1]
    are_classes = outputs > 1 or config.loss == "binary_cross_entropy"
    x, y = pair(examples)
    classes = learn_classes(network, y, are_classes=are_classes)
    examples = x, encode(classes, y, outputs, are_classes=are_classes)
    if validation is not None:
        x, y = pair(validation)
        validation = x, encode(classes, y, outputs, are_classes=are_classes)
    if validation is None and config.validation_share:
        rng = np.random.default_rng(config.seed) if state.shares_streams else hold_out_rng(config.seed)
        examples, sample_weight, validation = split_validation(network, examples, sample_weight, config, rng)
    if config.patience and validation is None:
        raise ConfigError(
            "patience counts validations: give validation examples or a validation_share", field="patience"
        )
    train_set = check_and_encode(network, examples, config, sample_weight)
    validation_set = check_and_encode(network, validation, config, apply_label_smoothing=False) if validation else None
    if not augment and not loss_transform:  # these need all inputs, in their own order
        train_set = sort_inputs(network, train_set)
    steps = steps_per_epoch(network.config, len(train_set.x), config)
    total_steps = steps * config.epochs
    schedule = config.make_schedule(min(config.max_steps or total_steps, total_steps))
    network.classes_, state.stop_training = classes, False
    while not state.stop_training and not stop_reason(config, state.history):
        yield _epoch(state, train_set, validation_set, config, schedule, steps, augment, loss_transform, on_step)
    if state.best:
        network.load_state_dict(state.best)


def _epoch(
    state: TrainingState,
    train_set: Examples,
    validation_set: Examples | None,
    config: FitConfig,
    schedule: Schedule,
    steps: int,
    augment: Augment | None,
    loss_transform: LossTransform | None,
    on_step: OnStep | None,
) -> Epoch:
    """Train for one epoch, validate, and append both to the history."""
    network, number, first_step = state.network, len(state.history) + 1, state.step
    before = network.parameters.copy()
    started = time.perf_counter()
    with active_network(network, state.optimizer, train_set) as active:
        # Underflow is harmless; every other floating-point error means that training has diverged.
        with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
            seen, score = run_steps(state, active, train_set, config, schedule, steps, augment, loss_transform, on_step)
        seconds = time.perf_counter() - started
        score = evaluate_loss(active, train_set) if config.evaluate_training else score
    is_due = number % config.validation_every == 0 or number == config.epochs
    epoch = Epoch(
        number=number,
        epochs=config.epochs,
        step=state.step,
        train=score,
        validation=evaluate_loss(network, validation_set) if validation_set and is_due else None,
        learning_rate=schedule(max(state.step - 1, first_step)),
        update=float(np.abs(network.parameters - before).max()),
        seconds=seconds,
        images_per_second=seen / seconds,
    )
    state.history.append(epoch)
    if config.keep_best:
        if best_epoch(state.history) is epoch:
            state.best = {name: array.copy() for name, array in network.state_dict().items()}
        if state.best and stop_reason(config, state.history):
            network.load_state_dict(state.best)
    return epoch
