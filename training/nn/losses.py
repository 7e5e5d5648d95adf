"""Losses say how wrong an answer is, and in which direction it would be less wrong.

Each is a function `(outputs, targets, weights) → (value, gradient)`: the mean over the batch, and its gradient by
`outputs`, shape (n, k). `targets` is (n, k), or (n,) class numbers where a loss says so; `weights` is (n,) or None
and multiplies each example's loss (the sum is still divided by n, as Keras does).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from training.types import Floats, Targets

LossFunction = Callable[[Floats, Targets, Floats | None], tuple[float, Floats]]


class Loss(NamedTuple):
    """A loss and what it wants to see: the `logits` before the output activation, or the `outputs` after it."""

    function: LossFunction
    sees: str
    output_activations: tuple[str, ...] | None = None
    """The output activations it makes sense with; None for any."""


def _weighted(
    losses: Floats, gradient: Floats, weights: Floats | None, shares: int | None = None
) -> tuple[float, Floats]:
    """Average per-example losses (n,) and scale their gradients (n, k), in place, to match."""
    shares = shares or len(losses)
    if weights is not None:
        losses = losses * weights
        gradient *= weights[:, np.newaxis]
    gradient /= shares
    return float(losses.sum()) / shares, gradient


def quadratic(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Half the squared distance, ½·Σₖ(a−y)², averaged over the examples (Nielsen 2015, chapter 1)."""
    gradient = outputs - targets
    return _weighted(0.5 * np.vecdot(gradient, gradient), gradient, weights)


def squared_error(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """The squared distance, Σₖ(a−y)², averaged over the examples: k times the mean squared error."""
    difference = outputs - targets
    return _weighted(np.vecdot(difference, difference), 2 * difference, weights)


def mean_squared_error(outputs: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """The squared difference averaged over all entries, as Keras and scikit-learn report it."""
    difference = outputs - targets
    return _weighted(np.vecdot(difference, difference), 2 * difference, weights, difference.size)


def cross_entropy(logits: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Softmax cross-entropy from logits, −Σₖ yₖ·log softmax(z)ₖ; targets are class numbers (n,) or rows that sum to 1.

    The gradient by the logits is softmax(z) − y. Shifting by the row's maximum keeps every exponential within range.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    totals = gradient.sum(axis=1)
    gradient /= totals[:, np.newaxis]
    if targets.ndim == 1:
        # Places in the flat array: one index is several times faster than two.
        right = np.arange(0, logits.size, logits.shape[1]) + targets
        losses = np.log(totals) - shifted.take(right)
        gradient.ravel()[right] -= 1
    else:
        losses = np.log(totals) * targets.sum(axis=1) - (targets * shifted).sum(axis=1)
        gradient -= targets
    return _weighted(losses, gradient, weights)


def binary_cross_entropy(logits: Floats, targets: Targets, weights: Floats | None = None) -> tuple[float, Floats]:
    """Sigmoid cross-entropy from logits, averaged over all entries; several columns are several independent labels.

    log(1 + eᶻ) − y·z, written as max(z, 0) − y·z + log(1 + e^−|z|); the gradient by the logits is sigmoid(z) − y.
    """
    losses = np.maximum(logits, 0) - targets * logits + np.log1p(np.exp(-np.abs(logits)))
    gradient = 0.5 * np.tanh(0.5 * logits) + 0.5 - targets
    return _weighted(losses.sum(axis=1), gradient, weights, logits.size)


LOSSES: dict[str, Loss] = {
    "quadratic": Loss(quadratic, "outputs"),
    "squared_error": Loss(squared_error, "outputs"),
    "mean_squared_error": Loss(mean_squared_error, "outputs"),
    "cross_entropy": Loss(cross_entropy, "logits", ("softmax", "linear")),
    "binary_cross_entropy": Loss(binary_cross_entropy, "logits", ("sigmoid", "linear")),
}
