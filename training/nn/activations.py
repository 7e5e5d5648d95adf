"""Activations bend a layer's output, so that a stack of layers can be more than one layer.

Each is a function `x → (y, backward)`: `y` has the shape of `x`, and `backward(dy)` turns the gradient of the
loss by `y` into the gradient by `x`. Nothing is remembered outside the pair, so one function serves many callers.
"""

from collections.abc import Callable

import numpy as np

from training.types import Floats

Backward = Callable[[Floats], Floats]
Activation = Callable[[Floats], tuple[Floats, Backward]]


def linear(x: Floats) -> tuple[Floats, Backward]:
    """Leave everything as it is: y = x."""
    return x, lambda dy: dy


def sigmoid(x: Floats) -> tuple[Floats, Backward]:
    """Squeeze into (0, 1): y = 1 / (1 + e⁻ˣ), written with tanh, which cannot overflow."""
    y = np.tanh(0.5 * x)
    y *= 0.5
    y += 0.5
    return y, lambda dy: dy * y * (1 - y)


def tanh(x: Floats) -> tuple[Floats, Backward]:
    """Squeeze into (−1, 1): y = tanh x."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def relu(x: Floats) -> tuple[Floats, Backward]:
    """Cut off what is negative: y = max(x, 0). The slope at 0 is taken as 0."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)


def leaky_relu(x: Floats) -> tuple[Floats, Backward]:
    """Let a hundredth of the negative through, so that no unit dies: y = max(x, x/100) (Maas et al. 2013)."""
    y = np.maximum(x, 0.01 * x)
    return y, lambda dy: np.where(y > 0, dy, 0.01 * dy)


def swish(x: Floats) -> tuple[Floats, Backward]:
    """A smooth ReLU: y = x · sigmoid(x) (Ramachandran et al. 2017, β = 1; also called SiLU)."""
    gate, _ = sigmoid(x)
    y = x * gate
    return y, lambda dy: dy * (gate + y * (1 - gate))


def softmax(x: Floats) -> tuple[Floats, Backward]:
    """Turn each row into probabilities: yᵢ = e^xᵢ / Σ e^xⱼ, shifted by the row's maximum so that nothing overflows."""
    y = np.exp(x - x.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "swish": swish,
    "softmax": softmax,
}
