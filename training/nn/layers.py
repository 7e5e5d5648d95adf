"""Layers: the building blocks of a network.

A layer maps rows x of shape (n, inputs) to rows y of shape (n, outputs). `forward(x, rng)` returns `(y, backward)`;
`backward(dy)` writes the gradients of the layer's own parameters and returns the gradient with respect to x. A layer
is in training mode if a random generator is given, in inference mode otherwise. What the backward pass needs stays in
the closure, so one network can serve many threads.

A layer states the shapes of its parameters. The network adds them up, allocates one flat vector, and binds each layer
to its views. Parameters named `weight` are initialised by the network's initializer and are subject to weight decay.

To add a layer, write a subclass of `Layer` and enter it in LAYERS; see examples/custom_layer.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from training.nn.activations import ACTIVATIONS, ActivationFunction, Backward
from training.types import Floats

Shape = tuple[int, ...]


class Layer(ABC):
    """A layer that is built for inputs of one shape; subclasses override what differs from a layer without parameters.

    `input_shape` and `output_shape` are those of one example, such as (784,) or (28, 28, 1). Rows are always flat.
    """

    needs_input_gradient = True
    """False for the first layer of a network: training does not use the gradient with respect to the inputs."""

    def __init__(self, input_shape: Shape, output_shape: Shape | None = None) -> None:
        """Set the shapes; the output has the shape of the input unless another is given."""
        self.input_shape, self.output_shape = input_shape, output_shape or input_shape
        self.parameters: Mapping[str, Floats] = {}
        self.gradients: Mapping[str, Floats] = {}

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter."""
        return {}

    def bind(self, parameters: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> None:
        """Use these arrays, by the names of `parameter_shapes`, as parameters and as their gradients."""
        self.parameters, self.gradients = parameters, gradients

    @abstractmethod
    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """Return (y, backward)."""

    def state_dict(self) -> dict[str, Floats]:
        """Return everything that is saved: parameters and running statistics."""
        return dict(self.parameters)


class Dense(Layer):
    """Fully connected layer: y = x·W + b, with W of shape (inputs, outputs)."""

    weight: Floats
    bias: Floats | None = None
    _bias_gradient: Floats | None = None

    def __init__(self, input_shape: Shape, units: int, *, bias: bool = True) -> None:
        """Connect all inputs to `units` outputs, with or without biases. Raises ValueError for fewer than one."""
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(f"units must be a whole number of at least 1, not {units!r}")
        super().__init__(input_shape, (units,))
        self._has_bias = bias

    def parameter_shapes(self) -> dict[str, Shape]:
        """See Layer."""
        weight = {"weight": (math.prod(self.input_shape), *self.output_shape)}
        return weight | ({"bias": self.output_shape} if self._has_bias else {})

    def bind(self, parameters: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> None:
        """See Layer."""
        super().bind(parameters, gradients)
        self.weight, self._weight_gradient = parameters["weight"], gradients["weight"]
        self.bias, self._bias_gradient = parameters.get("bias"), gradients.get("bias")

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002 -- signature shared by all layers
        """See Layer."""
        y = x @ self.weight
        if self.bias is not None:
            y += self.bias

        def backward(dy: Floats) -> Floats:
            np.matmul(x.T, dy, out=self._weight_gradient)
            if self._bias_gradient is not None:
                np.add.reduce(dy, axis=0, out=self._bias_gradient)
            return dy @ self.weight.T if self.needs_input_gradient else dy

        return y, backward


class Activation(Layer):
    """An activation function as a layer."""

    def __init__(self, input_shape: Shape, function: str | ActivationFunction) -> None:
        """Use a function, or the one of this name in ACTIVATIONS."""
        super().__init__(input_shape)
        self.function = ACTIVATIONS[function] if isinstance(function, str) else function

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002 -- signature shared by all layers
        """See Layer."""
        return self.function(x)


class Dropout(Layer):
    """Zero each unit with probability `rate` during training and scale the rest by 1/(1 − rate).

    Srivastava et al. 2014, inverted form: inference needs no scaling.
    """

    def __init__(self, input_shape: Shape, rate: float) -> None:
        """Set the rate. Raises ValueError unless 0 ≤ rate < 1."""
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, not {rate!r}")
        super().__init__(input_shape)
        self.rate = rate

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See Layer."""
        if rng is None:
            return x, lambda dy: dy
        mask = (rng.random(x.shape, dtype=np.float32) >= self.rate) * x.dtype.type(1 / (1 - self.rate))
        return x * mask, lambda dy: dy * mask


class BatchNorm(Layer):
    """Normalise each unit to mean 0 and variance 1 over the batch, then scale and shift (Ioffe and Szegedy 2015).

    Inference uses running statistics, r ← 0.9·r + 0.1·batch (momentum 0.9 in Keras's convention, 0.1 in PyTorch's), of
    the biased batch variance; ε = 1e−5 is added to the variance.
    """

    MOMENTUM = 0.9
    EPSILON = 1e-5

    def parameter_shapes(self) -> dict[str, Shape]:
        """See Layer."""
        return {"scale": self.input_shape, "shift": self.input_shape}

    def bind(self, parameters: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> None:
        """See Layer."""
        super().bind(parameters, gradients)
        self.scale, self._scale_gradient = parameters["scale"], gradients["scale"]
        self.shift, self._shift_gradient = parameters["shift"], gradients["shift"]
        self.scale[:] = 1
        self.mean, self.variance = np.zeros_like(self.scale), np.ones_like(self.scale)

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See Layer."""
        training = rng is not None
        mean, variance = (x.mean(axis=0), x.var(axis=0)) if training else (self.mean, self.variance)
        if training:
            for running, batch in ((self.mean, mean), (self.variance, variance)):
                running *= self.MOMENTUM
                running += (1 - self.MOMENTUM) * batch
        inv_std = 1 / np.sqrt(variance + self.EPSILON)
        x_hat = (x - mean) * inv_std

        def backward(dy: Floats) -> Floats:
            self._scale_gradient[:] = (dy * x_hat).sum(axis=0)
            self._shift_gradient[:] = dy.sum(axis=0)
            scale_over_std: Floats = self.scale * inv_std
            if not training:
                return scale_over_std * dy
            dx: Floats = scale_over_std * (dy - (self._shift_gradient + x_hat * self._scale_gradient) / len(dy))
            return dx

        return x_hat * self.scale + self.shift, backward

    def state_dict(self) -> dict[str, Floats]:
        """See Layer; includes the running statistics."""
        return super().state_dict() | {"mean": self.mean, "variance": self.variance}


class Residual(Layer):
    """Residual block: y = x + f(x), where f is a stack of layers (He et al. 2016)."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Wrap layers whose output has the shape of their input."""
        super().__init__(layers[0].input_shape)
        self.layers = layers

    def parameter_shapes(self) -> dict[str, Shape]:
        """See Layer."""
        return named_shapes(self.layers)

    def bind(self, parameters: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> None:
        """See Layer."""
        bind_all(self.layers, parameters, gradients)

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """See Layer."""
        y, backward = forward_through(self.layers, x, rng)
        return x + y, lambda dy: dy + backward(dy)

    def state_dict(self) -> dict[str, Floats]:
        """See Layer."""
        return named_arrays(self.layers)


LAYERS: dict[str, Callable[..., Layer]] = {"dense": Dense, "activation": Activation, "dropout": Dropout}
"""Layers that `MLPConfig.stem` may name: each is called with its input shape and its options."""


def forward_through(
    layers: Sequence[Layer], x: Floats, rng: np.random.Generator | None = None
) -> tuple[Floats, Backward]:
    """Apply layers in order; the returned `backward` goes through them in reverse."""
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x, rng)
        backwards.append(backward)

    def backward_through(dy: Floats) -> Floats:
        for backward in reversed(backwards):
            dy = backward(dy)
        return dy

    return x, backward_through


def named_shapes(layers: Sequence[Layer]) -> dict[str, Shape]:
    """Name the parameters of a stack by the index of their layer, `0.weight`, `0.bias`, `2.weight`, …: their shapes."""
    return {f"{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.parameter_shapes().items()}


def named_arrays(layers: Sequence[Layer]) -> dict[str, Floats]:
    """Collect the state of a stack under the names of `named_shapes`."""
    return {f"{i}.{name}": array for i, layer in enumerate(layers) for name, array in layer.state_dict().items()}


def bind_all(layers: Sequence[Layer], parameters: Mapping[str, Floats], gradients: Mapping[str, Floats]) -> None:
    """Bind each layer of a stack to its arrays, by the names of `named_shapes`."""
    for i, layer in enumerate(layers):
        names = layer.parameter_shapes()
        layer.bind(*({name: arrays[f"{i}.{name}"] for name in names} for arrays in (parameters, gradients)))
