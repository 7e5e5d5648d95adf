"""The settings of a training run, as a frozen dataclass that validates itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training.errors import ConfigError
from training.fit.optim import OPTIMIZERS, L2Penalty, UpdateRule, WeightDecay, chain
from training.fit.schedules import SCHEDULES, Schedule
from training.limits import Limit, hash_of, validate_class_weights, validate_fields, validate_options
from training.nn.losses import LOSSES
from training.settings import settings, validate_choice
from training.types import Floats


@settings
@dataclass(frozen=True)
class FitConfig:
    """The settings of one training run. Raises ConfigError, naming the field, for invalid ones."""

    epochs: int = 10
    """Passes over the training examples."""
    batch_size: int = 128
    """Examples per step."""
    loss: str = "cross_entropy"
    """The loss to minimise; a key of LOSSES."""
    optimizer: str = "adam"
    """The optimizer; a key of OPTIMIZERS."""
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the optimizer, such as momentum, nesterov, beta1, beta2, epsilon, decay."""
    learning_rate: float = 0.001
    """Peak learning rate."""
    schedule: str = "constant"
    """Learning-rate schedule; a key of SCHEDULES."""
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the schedule, such as final, warm_up, rise, factor."""
    l2: float = 0.0
    """L2 penalty: adds l2 · w to the gradient of each weight."""
    weight_decay: float = 0.0
    """Decoupled weight decay: shrinks each weight by rate · weight_decay in each step."""
    label_smoothing: float = 0.0
    """Fraction of the target that is spread evenly over all classes; for cross_entropy."""
    shuffle: bool = True
    """Whether to shuffle the examples before each epoch."""
    replacement: bool = False
    """Whether to sample batches with replacement."""
    steps_per_epoch: int | None = None
    """Steps that count as an epoch; None for one pass over the examples."""
    max_steps: int | None = None
    """Stop after this many steps, even within an epoch."""
    validation_share: float = 0.0
    """Fraction of the examples to hold out for validation, stratified by class, if no validation set is given."""
    validation_every: int = 1
    """Validate every so many epochs."""
    evaluate_training: bool = False
    """Whether to evaluate the training set after each epoch, instead of averaging over its steps."""
    class_weights: Mapping[int, float] | str | None = None
    """Class number → weight of the loss of its examples, 1 if absent; "balanced" for n / (classes · count)."""
    patience: int | None = None
    """Early stopping: stop after this many validations without improvement."""
    keep_best: bool = False
    """Whether to restore the weights of the best epoch at the end."""
    stop_at_error: float | None = None
    """Stop when the error rate (validation if there is one, else training) is at most this."""
    stop_at_update: float | None = None
    """Stop when no parameter changes by more than this over an epoch."""
    max_seconds: float | None = None
    """Stop after the epoch in which training time exceeds this."""
    seed: int = 0
    """Seeds shuffling, dropout and augmentation."""

    def __post_init__(self) -> None:
        """Validate everything that does not depend on the data."""
        for name, table in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            object.__setattr__(self, name, validate_choice(name, getattr(self, name), table))
        validate_fields(self, _LIMITS)
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", validate_class_weights(self.class_weights))
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError("label_smoothing goes with the loss cross_entropy", field="label_smoothing")
        if self.replacement and (self.steps_per_epoch or 0) * self.batch_size > _MAX_DRAWN:
            raise ConfigError(
                f"with replacement, steps_per_epoch times batch_size must be at most {_MAX_DRAWN:,}",
                field="steps_per_epoch",
            )
        for name, builder in (("optimizer", OPTIMIZERS[self.optimizer]), ("schedule", SCHEDULES[self.schedule])):
            field = f"{name}_options"
            options = validate_options(field, getattr(self, field), builder, getattr(self, name))
            object.__setattr__(self, field, options)
        if self.optimizer_options.get("nesterov") and not self.optimizer_options.get("momentum"):
            raise ConfigError("nesterov goes with a momentum above 0", field="optimizer_options")
        try:
            self.make_schedule(1)(0)
        except (ArithmeticError, TypeError, ValueError) as error:  # such as a number of cycles that is no whole number
            raise ConfigError(
                f"{self.schedule} cannot be made with these options: {error}", field="schedule_options"
            ) from None

    def __hash__(self) -> int:
        """Hash by value; options are mappings, which have no hash of their own."""
        return hash_of(self)

    def replace(self, **changes: Any) -> "FitConfig":
        """Copy with changes, checked like a new one."""
        return replace(self, **changes)

    def make_optimizer(self, parameters: Floats, n_weights: int) -> UpdateRule:
        """Chain L2 penalty, weight decay and optimizer for a flat vector of which the first `n_weights` are weights."""
        rules: list[UpdateRule] = [L2Penalty(self.l2, n_weights)] if self.l2 else []
        rules += [WeightDecay(self.weight_decay, n_weights)] if self.weight_decay else []
        return chain(*rules, OPTIMIZERS[self.optimizer](parameters, **self.optimizer_options))

    def make_schedule(self, steps: int) -> Schedule:
        """Build the schedule for a run of this many steps."""
        return SCHEDULES[self.schedule](self.learning_rate, steps, **self.schedule_options)


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
_MAX_DRAWN = 10**8
"""Rows that an epoch may sample with replacement: they are drawn all at once."""
