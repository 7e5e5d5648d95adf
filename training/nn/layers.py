"""Layers, the bricks of a network.

`forward(x, rng)` answers `(y, backward)`; `backward(dy)` writes the gradients of the layer's own parameters and
answers the gradient by `x`. With a random generator the layer is learning (it drops units, takes the statistics of
the batch); with None it answers as it will in service. Everything between forward and backward is in the closure,
so that one network answers many callers at once. Rows are examples, shape (n, fan_in) → (n, fan_out).

Parameters are views into one flat vector of the network, which `Allocate` hands out with the views of their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from training.nn.activations import Activation, Backward
from training.types import Floats

Allocate = Callable[[tuple[int, ...]], tuple[Floats, Floats]]
"""Shape → (parameter, gradient), both views of that shape."""


class Layer(Protocol):
    """What a network asks of each of its layers."""

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """Answer (y, backward)."""

    def parameters(self) -> dict[str, Floats]:
        """Name what training changes, and what must be saved with it."""


class Dense:
    """Every output sees every input: y = x·W + b. Rows may be short: inputs that they lack at their end are 0.

    The first layer of a network is built with `input_gradient=False`: nobody asks how the loss depends on the
    pixels while training, and that product would be as large as the forward one.
    """

    def __init__(
        self,
        weight: tuple[Floats, Floats],
        bias: tuple[Floats, Floats] | None,
        *,
        input_gradient: bool = True,
    ) -> None:
        """Keep the views (parameter, gradient): weight (fan_in, fan_out), bias (fan_out,)."""
        self.weight, self._weight_gradient = weight
        self.bias: Floats | None
        self._bias_gradient: Floats | None
        self.bias, self._bias_gradient = bias or (None, None)
        self.input_gradient = input_gradient

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002 -- Layer's signature
        """See the module."""
        heard = x.shape[1]
        weight, weight_gradient = self.weight[:heard], self._weight_gradient[:heard]
        y = x @ weight
        if self.bias is not None:
            y += self.bias

        def backward(dy: Floats) -> Floats:
            np.matmul(x.T, dy, out=weight_gradient)
            self._weight_gradient[heard:] = 0
            if self._bias_gradient is not None:
                np.add.reduce(dy, axis=0, out=self._bias_gradient)
            return dy @ weight.T if self.input_gradient else dy

        return y, backward

    def parameters(self) -> dict[str, Floats]:
        """See Layer."""
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})


class Activate:
    """An activation function as a layer."""

    def __init__(self, function: Activation) -> None:
        """Keep the function."""
        self.function = function

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002 -- Layer's signature
        """See the module."""
        return self.function(x)

    def parameters(self) -> dict[str, Floats]:
        """See Layer: none."""
        return {}


class Dropout:
    """Silence each unit with probability `rate` while learning, and make up for it in the others.

    Srivastava et al. 2014, in the inverted form: what is kept is divided by 1 − rate, so service needs no change.
    """

    def __init__(self, rate: float) -> None:
        """Keep the rate, 0 ≤ rate < 1."""
        self.rate = rate

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See the module."""
        if rng is None:
            return x, lambda dy: dy
        kept = (rng.random(x.shape, dtype=np.float32) >= self.rate) * x.dtype.type(1 / (1 - self.rate))
        return x * kept, lambda dy: dy * kept

    def parameters(self) -> dict[str, Floats]:
        """See Layer: none."""
        return {}


class BatchNorm:
    """Give each unit mean 0 and variance 1 over the batch, then a learned scale and shift (Ioffe and Szegedy 2015).

    In service it uses running means, r ← 0.9·r + 0.1·batch (Keras would call the momentum 0.9, PyTorch 0.1), of the
    biased batch variance; ε = 1e−5 is added to the variance.
    """

    MOMENTUM = 0.9
    EPSILON = 1e-5

    def __init__(self, scale: tuple[Floats, Floats], shift: tuple[Floats, Floats]) -> None:
        """Keep the views (parameter, gradient), each of shape (units,)."""
        self.scale, self._scale_gradient = scale
        self.shift, self._shift_gradient = shift
        self.scale[:] = 1
        self.mean, self.variance = np.zeros_like(self.scale), np.ones_like(self.scale)

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See the module."""
        learning = rng is not None
        mean, variance = (x.mean(axis=0), x.var(axis=0)) if learning else (self.mean, self.variance)
        if learning:
            for running, batch in ((self.mean, mean), (self.variance, variance)):
                running *= self.MOMENTUM
                running += (1 - self.MOMENTUM) * batch
        spread = 1 / np.sqrt(variance + self.EPSILON)
        centred = (x - mean) * spread

        def backward(dy: Floats) -> Floats:
            self._scale_gradient[:] = (dy * centred).sum(axis=0)
            self._shift_gradient[:] = dy.sum(axis=0)
            slope: Floats = self.scale * spread
            if not learning:
                return slope * dy
            dx: Floats = slope * (dy - (self._shift_gradient + centred * self._scale_gradient) / len(dy))
            return dx

        return centred * self.scale + self.shift, backward

    def parameters(self) -> dict[str, Floats]:
        """See Layer; the running statistics are saved with the parameters."""
        return {"scale": self.scale, "shift": self.shift, "mean": self.mean, "variance": self.variance}


class Residual:
    """Add what goes in to what comes out of a stack of layers, so that depth cannot hurt (He et al. 2016)."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Keep the stack; it must answer the shape that it is given."""
        self.layers = layers

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See the module."""
        y, backward = chain(self.layers, x, rng)
        return x + y, lambda dy: dy + backward(dy)

    def parameters(self) -> dict[str, Floats]:
        """See Layer."""
        return numbered(self.layers)


def chain(layers: Sequence[Layer], x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
    """Send x through layers one after the other; backward goes through them in reverse."""
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x, rng)
        backwards.append(backward)

    def all_backwards(dy: Floats) -> Floats:
        for backward in reversed(backwards):
            dy = backward(dy)
        return dy

    return x, all_backwards


def numbered(layers: Sequence[Layer]) -> dict[str, Floats]:
    """Name all parameters of a stack by the place of their layer: `0.weight`, `0.bias`, `2.weight`, …."""
    return {
        f"{place}.{name}": array for place, layer in enumerate(layers) for name, array in layer.parameters().items()
    }
