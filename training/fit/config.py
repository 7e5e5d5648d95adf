"""How a network is to be trained, as frozen data that refuses what cannot work."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from training.errors import ConfigError
from training.fit.optim import OPTIMIZERS, Optimizer
from training.fit.schedules import SCHEDULES, Schedule
from training.limits import Limit, check_fields, checked_options, is_number, shown
from training.nn.losses import LOSSES
from training.settings import checked_choice, settings
from training.types import Floats


@settings
@dataclass(frozen=True)
class FitConfig:
    """The settings of one training run. Raises ConfigError, naming the field, for what cannot work."""

    epochs: int = 10
    """Passes over the training examples."""
    batch_size: int = 128
    """Examples per step; 1 is per-example, the number of examples is full-batch gradient descent."""
    loss: str = "cross_entropy"
    """What is made small; a name in LOSSES."""
    optimizer: str = "adam"
    """What turns gradients into steps; a name in OPTIMIZERS."""
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    """Its options, such as momentum, nesterov, beta1, beta2, epsilon, decay."""
    learning_rate: float = 0.001
    """The peak rate."""
    schedule: str = "constant"
    """How the rate moves over the run; a name in SCHEDULES."""
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    """Its options, such as final, warm_up, rise, factor."""
    l2: float = 0.0
    """Adds l2 · w to each weight's gradient."""
    weight_decay: float = 0.0
    """Shrinks each weight by rate · weight_decay at each step, beside the gradient."""
    label_smoothing: float = 0.0
    """Share of the target that goes to all classes alike; for cross_entropy."""
    shuffle: bool = True
    """Whether each epoch sees the examples in a new order."""
    replacement: bool = False
    """Whether batches are drawn with replacement instead."""
    steps_per_epoch: int | None = None
    """Steps between two reports; None for one pass over the examples."""
    max_steps: int | None = None
    """Stop after this many steps, be it within an epoch."""
    validation_share: float = 0.0
    """Share of the examples to hold out (stratified by class) when no validation examples are given."""
    validation_every: int = 1
    """Epochs between two validations."""
    evaluate_training: bool = False
    """Whether to measure the training examples again after each epoch, instead of averaging over its steps."""
    class_weights: Mapping[int, float] | str | None = None
    """Class number → weight of the loss of its examples, 1 if absent; "balanced" for n / (classes · count)."""
    patience: int | None = None
    """Stop after so many validations without a new best."""
    keep_best: bool = False
    """Whether to end with the weights of the best validation instead of the last."""
    stop_at_error: float | None = None
    """Stop when the error rate (validation if there is one, else training) is at or below this."""
    stop_at_update: float | None = None
    """Stop when no parameter moved by more than this over an epoch."""
    max_seconds: float | None = None
    """Stop after the epoch in which the training time exceeds this."""
    seed: int = 0
    """Of everything random while training."""

    def __post_init__(self) -> None:
        """Check everything that can be checked without data."""
        for name, table in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), table))
        check_fields(self, _LIMITS)
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _class_weights(self.class_weights))
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError("label_smoothing goes with the loss cross_entropy", field="label_smoothing")
        if self.replacement and (self.steps_per_epoch or 0) * self.batch_size > _MOST_DRAWN:
            raise ConfigError(
                f"with replacement, steps_per_epoch times batch_size must be at most {_MOST_DRAWN:,}",
                field="steps_per_epoch",
            )
        self._check_options("optimizer", OPTIMIZERS[self.optimizer])
        self._check_options("schedule", SCHEDULES[self.schedule])
        options = self.optimizer_options
        if options.get("nesterov") and not options.get("momentum"):
            raise ConfigError("nesterov goes with a momentum above 0", field="optimizer_options")
        try:
            self.make_schedule(1)(0)
        except (ArithmeticError, TypeError, ValueError) as error:  # no cycles, or half a one
            raise ConfigError(
                f"{self.schedule} cannot be made with these options: {error}", field="schedule_options"
            ) from None

    def _check_options(self, name: str, builder: Callable[..., Any]) -> None:
        parameters = inspect.signature(builder).parameters.values()
        known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        field, of = f"{name}_options", getattr(self, name)
        # A copy, so that the caller's may change.
        object.__setattr__(self, field, checked_options(field, getattr(self, field), known, of))

    def __hash__(self) -> int:
        """Hash by value, so that configs can be keys; their options are mappings."""
        return hash_of(self)

    def replace(self, **changes: Any) -> "FitConfig":
        """Copy with changes, checked like a new one."""
        return replace(self, **changes)

    def make_optimizer(self, parameters: Floats) -> Optimizer:
        """Build the optimizer for a flat vector of parameters."""
        return OPTIMIZERS[self.optimizer](parameters, **self.optimizer_options)

    def make_schedule(self, steps: int) -> Schedule:
        """Build the schedule for a run of so many steps."""
        return SCHEDULES[self.schedule](self.learning_rate, steps, **self.schedule_options)


def hash_of(config: Any) -> int:
    """Hash a frozen dataclass by value, mappings as the set of their items."""
    values = (getattr(config, f.name) for f in fields(config))
    return hash(tuple(frozenset(value.items()) if isinstance(value, Mapping) else value for value in values))


def _class_weights(weights: Any) -> dict[int, float] | str:
    """Check class weights; JSON's keys are text."""
    if isinstance(weights, str) and weights == "balanced":
        return weights
    wanted = "class_weights must be 'balanced' or map class numbers to weights from 0 to 1000000"
    if not isinstance(weights, Mapping):
        raise ConfigError(f"{wanted}, not {shown(weights)}", field="class_weights")
    read = {}
    for label, weight in weights.items():
        number = int(label) if isinstance(label, str) and label.isdecimal() and len(label) < 10 else label
        if not is_number(number, whole=True) or number < 0 or not is_number(weight) or not 0 <= weight <= 1e6:
            raise ConfigError(f"{wanted}, not {shown(label)} to {shown(weight)}", field="class_weights")
        read[int(number)] = float(weight)
    return read


_LIMITS = {
    "epochs": Limit(1, 100_000, "from 1 to 100000", whole=True),
    "batch_size": Limit(1, 1_000_000, "from 1 to 1000000", whole=True),
    "learning_rate": Limit(1e-12, 1000.0, "above 0 and at most 1000"),
    "l2": Limit(0, 100.0, "from 0 to 100"),
    "weight_decay": Limit(0, 100.0, "from 0 to 100"),
    "label_smoothing": Limit(0, 0.99, "from 0 to 0.99"),
    "steps_per_epoch": Limit(1, 10**9, "of at least 1 and at most 10^9", whole=True, optional=True),
    "max_steps": Limit(1, 10**12, "of at least 1 and at most 10^12", whole=True, optional=True),
    "validation_share": Limit(0, 0.9, "from 0 to 0.9"),
    "validation_every": Limit(1, 100_000, "from 1 to 100000", whole=True),
    "patience": Limit(1, 100_000, "from 1 to 100000", whole=True, optional=True),
    "stop_at_error": Limit(0, 1, "from 0 to 1", optional=True),
    "stop_at_update": Limit(0, 1e9, "from 0 to 10^9", optional=True),
    "max_seconds": Limit(0, 1e9, "from 0 to 10^9", optional=True),
    "seed": Limit(0, 2**63, "from 0 to 2^63", whole=True),
}
_MOST_DRAWN = 10**8
"""Rows that an epoch may draw with replacement: they are drawn at once."""

FIT_FIELDS = tuple(f.name for f in fields(FitConfig))
