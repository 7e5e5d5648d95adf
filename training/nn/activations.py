"""Activation functions; without a nonlinearity, a stack of dense layers collapses into one.

Each is a function `x → (y, backward)`: `y` has the shape of `x`, and `backward(dy)` turns the gradient of the loss
with respect to `y` into the gradient with respect to `x`. The functions are stateless and thread-safe.
"""

from collections.abc import Callable

import numpy as np

from training.types import Floats

Backward = Callable[[Floats], Floats]
ActivationFunction = Callable[[Floats], tuple[Floats, Backward]]


def linear(x: Floats) -> tuple[Floats, Backward]:
    """Identity: y = x."""
    return x, lambda dy: dy


def sigmoid(x: Floats) -> tuple[Floats, Backward]:
    """Logistic sigmoid: y = 1 / (1 + e⁻ˣ), computed with tanh, which cannot overflow."""
    y = np.tanh(0.5 * x)
    y *= 0.5
    y += 0.5
    return y, lambda dy: dy * y * (1 - y)


def tanh(x: Floats) -> tuple[Floats, Backward]:
    """Hyperbolic tangent: y = tanh x."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def relu(x: Floats) -> tuple[Floats, Backward]:
    """Rectified linear unit: y = max(x, 0), with derivative 0 at 0."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)


def leaky_relu(x: Floats) -> tuple[Floats, Backward]:
    """Leaky ReLU: y = max(x, x/100) (Maas et al. 2013)."""
    y = np.maximum(x, 0.01 * x)
    return y, lambda dy: np.where(y > 0, dy, 0.01 * dy)


def swish(x: Floats) -> tuple[Floats, Backward]:
    """Swish, also called SiLU: y = x · sigmoid(x) (Ramachandran et al. 2017 with β = 1)."""
    gate, _ = sigmoid(x)
    y = x * gate
    return y, lambda dy: dy * (gate + y * (1 - gate))


def softmax(x: Floats) -> tuple[Floats, Backward]:
    """Softmax over each row: yᵢ = e^xᵢ / Σ e^xⱼ, shifted by the row's maximum against overflow."""
    y = np.exp(x - x.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, ActivationFunction] = {
    "linear": linear,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "swish": swish,
    "softmax": softmax,
}
