"""Training examples: checked against the network, with targets and weights as the loss needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.split import stratified_split
from training.errors import ConfigError, DataError
from training.fit.config import FitConfig
from training.inputs.array_likes import as_array, class_numbers, rows
from training.inputs.class_labels import check_range
from training.nn.losses import LOSSES, Loss
from training.nn.mlp import MLP
from training.types import Floats, Labels, Targets

XY = tuple[Floats, Targets]
"""x (n, features) and y: class numbers (n,), or numbers (n,) or (n, k)."""


@dataclass(frozen=True)
class Examples:
    """Inputs, targets as the loss takes them, and how to count correct predictions."""

    x: Floats
    targets: Targets
    weights: Floats | None
    loss: Loss
    count_correct: Callable[[Floats, Targets], float] | None
    """(first argument of the loss, targets) → number of correct rows; None for targets that are not classes."""

    def batch(self, rows: Labels) -> tuple[Floats, Targets, Floats | None]:
        """Return (inputs, targets, weights) of some rows."""
        return self.x[rows], self.targets[rows], None if self.weights is None else self.weights[rows]


def check_and_encode(
    network: MLP, given: XY, config: FitConfig, sample_weight: Any = None, *, apply_label_smoothing: bool = True
) -> Examples:
    """Check examples against the network and encode labels as targets.

    Raises ConfigError if the loss does not fit the network, DataError if the examples do not.
    """
    x, y = _pair(network, given)
    loss = LOSSES[config.loss]
    if loss.allowed_outputs and network.config.output not in loss.allowed_outputs:
        wanted = " or ".join(loss.allowed_outputs)
        raise ConfigError(
            f"the loss {config.loss} wants the output {wanted}, not {network.config.output}", field="loss"
        )
    _check_inputs(network, x, y)
    classes = network.config.layers[-1]
    are_labels = y.ndim == 1 and y.dtype.kind in "iub" and (classes > 1 or config.loss == "binary_cross_entropy")
    if are_labels:
        check_range(y, max(classes, 2))
        targets = _targets(y.astype(np.int64), classes, config, x.dtype, smooth=apply_label_smoothing)
    else:
        targets = y.astype(x.dtype).reshape(len(y), -1)
        if targets.shape[1] != classes or not np.isfinite(targets).all():
            raise DataError(
                f"y must hold labels of shape (n,) or finite targets of shape (n, {classes}), one column for each "
                f"output; got shape {y.shape}"
                + (" with values that are not finite" if targets.shape[1] == classes else "")
            )
    weights = _weights(y if are_labels else None, sample_weight, len(x), config, x.dtype, classes)
    count_correct = _counter(config.loss, loss, classes) if are_labels or "cross_entropy" in config.loss else None
    return Examples(x, targets, weights, loss, count_correct)


def split_validation(
    network: MLP, given: XY, sample_weight: Any, config: FitConfig, rng: np.random.Generator
) -> tuple[XY, Floats | None, XY]:
    """Split off `validation_share`, stratified if y is class numbers; return (training, its weights, validation)."""
    x, y = _pair(network, given)
    strata = y if y.ndim == 1 and y.dtype.kind in "iub" else np.zeros(len(y), np.int64)
    kept, validation = stratified_split(strata, config.validation_share, rng)
    weights = None if sample_weight is None else np.asarray(sample_weight)[kept]
    return (x[kept], y[kept]), weights, (x[validation], y[validation])


def pair(given: Any) -> tuple[Any, Any]:
    """Return (x, y). Raises DataError for anything but a pair."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise DataError(f"examples must be a pair (x, y), not {type(given).__name__}")
    return given[0], given[1]


def _pair(network: MLP, given: XY) -> tuple[Floats, Targets]:
    x, y = pair(given)
    return rows(network.config, network.parameters.dtype, x), class_numbers(y, network.config.layers[-1])


def _check_inputs(network: MLP, x: Floats, y: Targets) -> None:
    if not len(x):
        raise DataError(f"expected x of shape (n, {network.config.layers[0]}) with n ≥ 1, got {x.shape}")
    if y.ndim < 1 or len(y) != len(x):
        raise DataError(f"x has {len(x)} rows, y has {len(y) if y.ndim else 'none'}")


def _targets(labels: Labels, classes: int, config: FitConfig, dtype: np.dtype, *, smooth: bool) -> Targets:
    if classes == 1:
        return labels.astype(dtype)[:, np.newaxis]
    smoothing = config.label_smoothing if smooth else 0.0
    if config.loss == "cross_entropy" and not smoothing:
        return labels
    row = np.eye(classes, dtype=dtype) * (1 - smoothing) + smoothing / classes
    return row.astype(dtype)[labels]


def _weights(
    labels: Labels | None,
    sample_weight: Any,
    count: int,
    config: FitConfig,
    dtype: np.dtype,
    classes: int,
) -> Floats | None:
    if sample_weight is None and not config.class_weights:
        return None
    weights = np.ones(count, dtype) if sample_weight is None else as_array("sample_weight", sample_weight).astype(dtype)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(f"sample_weight must be {count} finite numbers of at least 0, got shape {weights.shape}")
    if config.class_weights:
        if labels is None:
            raise ConfigError("class_weights need labels as y, shape (n,)", field="class_weights")
        class_weights = _balanced(labels) if isinstance(config.class_weights, str) else config.class_weights
        unknown = sorted(label for label in class_weights if label >= max(classes, 2))
        if unknown:
            raise ConfigError(
                f"class_weights names class {unknown[0]}, but the network knows the classes 0 to {max(classes, 2) - 1}",
                field="class_weights",
            )
        for label, weight in class_weights.items():
            weights[labels == label] *= weight
    return weights


def _balanced(labels: Labels) -> dict[int, float]:
    """Weigh classes by n / (classes · count), as scikit-learn does (King and Zeng 2001)."""
    found, counts = np.unique(labels, return_counts=True)
    return {int(label): len(labels) / (len(found) * int(count)) for label, count in zip(found, counts, strict=True)}


def _counter(name: str, loss: Loss, classes: int) -> Callable[[Floats, Targets], float]:
    if name == "binary_cross_entropy" or classes == 1:
        threshold = 0.0 if loss.takes == "logits" else 0.5
        return lambda predictions, targets: float(((predictions > threshold) == (targets > 0.5)).mean()) * len(targets)

    def count_correct(predictions: Floats, targets: Targets) -> float:
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float(np.count_nonzero(predictions.argmax(axis=1) == labels))

    return count_correct
