"""How a network is to be trained, as frozen data that refuses what cannot work."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from training.arrays import Floats
from training.errors import ConfigError
from training.losses import LOSSES
from training.optimizers import OPTIMIZERS, Optimizer
from training.schedules import SCHEDULES, Schedule


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
    class_weights: Mapping[int, float] | None = None
    """Multiplies the loss of each example by its class's weight; 1 for classes not named."""
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
            value = getattr(self, name)
            if not isinstance(value, str) or value not in table:
                raise ConfigError(f"unknown {name} {value!r}; choose one of {', '.join(table)}", field=name)
        for name, low, high, rule in _LIMITS:
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and low <= value <= high):
                raise ConfigError(f"{name} must be {rule}, not {value!r}", field=name)
        for name in _WHOLE:
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise ConfigError(f"{name} must be a whole number, not {value!r}", field=name)
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _class_weights(self.class_weights))
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError("label_smoothing goes with the loss cross_entropy", field="label_smoothing")
        self._check_options("optimizer", OPTIMIZERS[self.optimizer])
        self._check_options("schedule", SCHEDULES[self.schedule])
        try:
            self.make_schedule(1)(0)
        except (ArithmeticError, TypeError, ValueError) as error:  # no cycles, or half a one
            raise ConfigError(
                f"{self.schedule} cannot be made with these options: {error}", field="schedule_options"
            ) from None

    def _check_options(self, name: str, builder: Callable[..., Any]) -> None:
        options = getattr(self, f"{name}_options")
        if not isinstance(options, Mapping):
            raise ConfigError(f"{name}_options must map names to values", field=f"{name}_options")
        object.__setattr__(self, f"{name}_options", dict(options))  # so that the caller's may change
        known = [p.name for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for option, value in options.items():
            if option not in known:
                allowed = f"it takes {', '.join(known)}" if known else "it takes none"
                raise ConfigError(f"{getattr(self, name)} has no option {option!r}; {allowed}", field=f"{name}_options")
            if not isinstance(value, bool) and not (_is_number(value) and 0 <= value <= 1000):
                raise ConfigError(
                    f"option {option} must be a number from 0 to 1000, not {value!r}", field=f"{name}_options"
                )

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


def _class_weights(weights: Any) -> dict[int, float]:
    """Read class weights; JSON's keys are text."""
    try:
        read = {int(label): float(weight) for label, weight in weights.items()}
    except (AttributeError, TypeError, ValueError):
        read = {-1: 0.0}
    if not all(label >= 0 and 0 <= weight < 1e6 for label, weight in read.items()):
        raise ConfigError(
            f"class_weights must name class numbers and weights of at least 0, not {weights!r}", field="class_weights"
        )
    return read


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_LIMITS: tuple[tuple[str, float, float, str], ...] = (
    ("epochs", 1, 100_000, "from 1 to 100000"),
    ("batch_size", 1, 1_000_000, "from 1 to 1000000"),
    ("learning_rate", 1e-12, 1000.0, "above 0 and at most 1000"),
    ("l2", 0, 100.0, "from 0 to 100"),
    ("weight_decay", 0, 100.0, "from 0 to 100"),
    ("label_smoothing", 0, 0.99, "from 0 to 0.99"),
    ("steps_per_epoch", 1, 10**9, "at least 1"),
    ("max_steps", 1, 10**12, "at least 1"),
    ("validation_share", 0, 0.9, "from 0 to 0.9"),
    ("validation_every", 1, 100_000, "at least 1"),
    ("patience", 1, 100_000, "at least 1"),
    ("stop_at_error", 0, 1, "from 0 to 1"),
    ("stop_at_update", 0, 1e9, "at least 0"),
    ("max_seconds", 0, 1e9, "at least 0"),
    ("seed", 0, 2**63, "at least 0"),
)
_WHOLE = ("epochs", "batch_size", "steps_per_epoch", "max_steps", "validation_every", "patience", "seed")

FIT_FIELDS = tuple(f.name for f in fields(FitConfig))
