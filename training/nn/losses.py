"""Losses: each returns its value and its gradient with respect to the network output.

A loss is a function `(outputs, targets, weights) → (value, gradient)`: the mean over the batch, and its gradient with
respect to `outputs`, shape (n, k). `targets` is (n, k), or (n,) class numbers where a loss says so; `weights` is (n,)
or None and multiplies each example's loss (the sum is still divided by n, as in Keras).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from training.types import Floats, Targets

LossFunction = Callable[[Floats, Targets, Floats | None], tuple[float, Floats]]


class Loss(NamedTuple):
    """A loss function and its first argument: `logits`, before the output activation, or `outputs`, after it."""

    function: LossFunction
    takes: str
    allowed_outputs: tuple[str, ...] | None = None
    """Output activations that it works with; None for any."""


def _weighted(
    losses: Floats, gradient: Floats, weights: Floats | None, denominator: int | None = None
) -> tuple[float, Floats]:
    """Average the losses (n,) of a batch, and scale its gradients (n, k) in place accordingly."""
    denominator = denominator or len(losses)
    if weights is not None:
        losses = losses * weights
        gradient *= weights[:, np.newaxis]
    gradient /= denominator
    return float(losses.sum()) / denominator, gradient


def quadratic(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Half the squared distance, ½·Σₖ(a−y)², averaged over the examples (Nielsen 2015, chapter 1)."""
    gradient = outputs - targets
    return _weighted(0.5 * np.vecdot(gradient, gradient), gradient, weights)


def sum_squared_error(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """The squared distance, Σₖ(a−y)², averaged over the examples: k times the mean squared error."""
    difference = outputs - targets
    return _weighted(np.vecdot(difference, difference), 2 * difference, weights)


def mean_squared_error(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """The squared difference averaged over all entries, as Keras and scikit-learn report it."""
    difference = outputs - targets
    return _weighted(np.vecdot(difference, difference), 2 * difference, weights, difference.size)


def cross_entropy(logits: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Softmax cross-entropy from logits, −Σₖ yₖ·log softmax(z)ₖ; targets are class numbers (n,) or rows that sum to 1.

    The gradient with respect to the logits is softmax(z) − y. Shifting by the row's maximum prevents overflow.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    totals = gradient.sum(axis=1)
    gradient /= totals[:, np.newaxis]
    if targets.ndim == 1:
        # Indices into the flat array: one index is several times faster than two.
        correct = np.arange(0, logits.size, logits.shape[1]) + targets
        losses = np.log(totals) - shifted.take(correct)
        gradient.ravel()[correct] -= 1
    else:
        losses = np.log(totals) * targets.sum(axis=1) - (targets * shifted).sum(axis=1)
        gradient -= targets
    return _weighted(losses, gradient, weights)


def binary_cross_entropy(logits: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Sigmoid cross-entropy from logits, averaged over all entries; several columns are several independent labels.

    log(1 + eᶻ) − y·z, computed as max(z, 0) − y·z + log(1 + e^−|z|). The gradient is sigmoid(z) − y.
    """
    losses = np.maximum(logits, 0) - targets * logits + np.log1p(np.exp(-np.abs(logits)))
    gradient = 0.5 * np.tanh(0.5 * logits) + 0.5 - targets
    return _weighted(losses.sum(axis=1), gradient, weights, logits.size)


LOSSES: dict[str, Loss] = {
    "quadratic": Loss(quadratic, "outputs"),
    "squared_error": Loss(sum_squared_error, "outputs"),
    "mean_squared_error": Loss(mean_squared_error, "outputs"),
    "cross_entropy": Loss(cross_entropy, "logits", ("softmax", "linear")),
    "binary_cross_entropy": Loss(binary_cross_entropy, "logits", ("sigmoid", "linear")),
}
