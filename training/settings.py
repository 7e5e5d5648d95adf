"""Errors of the frozen settings classes that name the cure, and the names that other libraries use for a setting."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import FrozenInstanceError, fields
from functools import wraps
from typing import Any, TypeVar

from training.errors import ConfigError
from training.limits import shown

T = TypeVar("T")

HINTS: Mapping[str, str] = {
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_iter": "epochs",
    "alpha": "l2",
    "criterion": "loss",
    "solver": "optimizer",
    "tol": "stop_at_update",
    "random_state": "seed",
    "early_stopping": "patience, with validation examples or a validation_share",
    "n_iter_no_change": "patience, with validation examples or a validation_share",
    "validation_split": "validation_share",
    "validation_fraction": "validation_share",
    "validation_data": "the argument validation=(x, y) of fit",
    "validation_freq": "validation_every",
    "restore_best_weights": "keep_best",
    "class_weight": "class_weights",
    "sample_weights": "the argument sample_weight of fit",
    "sample_weight": "the argument sample_weight of fit",
    "verbose": "callbacks=print_line",
    "metrics": "evaluate(network, x, y), which returns all of them",
    "momentum": "optimizer='sgd', optimizer_options={'momentum': 0.9}",
    "nesterov": "optimizer='sgd', optimizer_options={'momentum': 0.9, 'nesterov': True}",
    "beta_1": "optimizer_options={'beta1': 0.9}",
    "beta1": "optimizer_options={'beta1': 0.9}",
    "betas": "optimizer_options={'beta1': 0.9, 'beta2': 0.999}",
    "eps": "optimizer_options={'epsilon': 1e-8}",
    "epsilon": "optimizer_options={'epsilon': 1e-8}",
    "hidden_layer_sizes": "MLPConfig(layers=(784, 128, 10)), input and output included",
    "hidden_layers": "MLPConfig(layers=(784, 128, 10)), input and output included",
    "units": "MLPConfig(layers=(784, 128, 10)), input and output included",
    "kernel_initializer": "initializer",
    "use_bias": "bias",
    "batchnorm": "batch_norm",
    "drop_rate": "dropout",
}
"""Names in Keras, PyTorch and scikit-learn → what to write here."""

ALIASES: Mapping[str, Mapping[str, str]] = {
    "loss": {
        "mse": "mean_squared_error",
        "categorical_crossentropy": "cross_entropy",
        "sparse_categorical_crossentropy": "cross_entropy",
        "log_loss": "cross_entropy",
        "binary_crossentropy": "binary_cross_entropy",
        "bce": "binary_cross_entropy",
    },
    "activation": {"identity": "linear", "logistic": "sigmoid", "silu": "swish"},
    "output": {"identity": "linear", "logistic": "sigmoid", "silu": "swish"},
    "initializer": {
        "he_normal": "he",
        "kaiming_normal": "he",
        "glorot_uniform": "glorot",
        "xavier_uniform": "glorot",
        "lecun_normal": "lecun",
    },
}
"""Setting → other names for its values, which are accepted and replaced."""

_ADVICE = {
    ("optimizer", "adamw"): "AdamW is optimizer='adam' with weight_decay=0.01",
    ("optimizer", "nesterov"): "Nesterov momentum is an option of sgd: {'momentum': 0.9, 'nesterov': True}",
    ("optimizer", "momentum"): "momentum is an option of sgd: {'momentum': 0.9}",
    ("activation", "gelu"): "the closest to GELU is swish",
    ("activation", "elu"): "the closest to ELU is leaky_relu",
    ("loss", "mae"): "there is no absolute error; the closest is mean_squared_error",
}


class UnknownSettingError(ConfigError, TypeError):
    """A keyword that no setting has; a TypeError too, as Python raises for unknown keywords."""


def unknown_setting(owner: str, name: str, known: Collection[str]) -> UnknownSettingError:
    """Build the error for a keyword that `owner` does not have, naming the setting that is meant."""
    if name in HINTS and name not in known:
        cure = f"use {HINTS[name]}"
    elif close := difflib.get_close_matches(name, known):
        cure = f"did you mean {' or '.join(close)}?"
    else:
        cure = f"its settings are {', '.join(known)}"
    return UnknownSettingError(f"unknown setting {shown(name)} of {owner}; {cure}", field=name)


def validate_choice(name: str, value: Any, table: Collection[str]) -> str:
    """Return the entry of a table that a value names, in any case or by an alias. Raises ConfigError."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be one of {', '.join(table)}, not {shown(value)}", field=name)
    if value in table:
        return value
    folded = value.lower()
    folded = ALIASES.get(name, {}).get(folded, folded)
    if folded in table:
        return folded
    advice = _ADVICE.get((name, folded))
    raise ConfigError(
        f"unknown {name} {shown(value)}; choose one of {', '.join(table)}" + (f" ({advice})" if advice else ""),
        field=name,
    )


def settings(config: type[T]) -> type[T]:
    """Decorate a frozen dataclass: unknown keywords and assignments raise errors that tell what to write instead."""
    known = [field.name for field in fields(config) if field.init]  # type: ignore[arg-type]
    original = config.__init__

    @wraps(original)
    def init(self: T, *args: Any, **values: Any) -> None:
        for name in values:
            if name not in known:
                raise unknown_setting(config.__name__, name, known)
        original(self, *args, **values)

    def refuse_assignment(self: T, name: str, value: object) -> None:  # noqa: ARG001 -- the signature of __setattr__
        raise FrozenInstanceError(
            f"{config.__name__} is frozen; make a changed copy instead: config = config.replace({name}={shown(value)})"
        )

    config.__init__ = init  # type: ignore[assignment]
    config.__setattr__ = refuse_assignment  # type: ignore[assignment,method-assign]
    return config
