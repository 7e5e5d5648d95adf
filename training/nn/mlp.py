"""The multilayer perceptron: layers in order, over one flat vector of parameters.

With a flat vector, an optimizer updates everything in a few passes, and a checkpoint is one array. Weights come first
and other parameters last, so weight decay acts on a slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from training import estimator
from training.deprecation import renamed
from training.errors import ConfigError
from training.inputs.array_likes import rows
from training.limits import shown
from training.nn.activations import ACTIVATIONS, Backward
from training.nn.config import MLPConfig, build_layers
from training.nn.init import BIAS_INITIALIZERS, INITIALIZERS
from training.nn.layers import (
    Shape,
    bind_all,
    forward_through,
    named_arrays,
    named_shapes,
)
from training.nn.losses import Loss
from training.random_streams import weights_rng
from training.types import Floats, Targets

PREDICT_BATCH = 512
"""Rows that `predict` processes at a time: the activations of so many fit into the CPU's cache."""


def _is_weight(name: str) -> bool:
    return name.rpartition(".")[2] == "weight"


@renamed(
    arrays="state_dict", outputs="forward_with_output", backpropagate="loss_and_gradients", weight_count="n_weights"
)
class MLP:
    """A network: its layers over one flat vector of parameters and one of gradients, both of shape (p,)."""

    def __init__(self, config: MLPConfig, rng: np.random.Generator | int = 0, dtype: type = np.float32) -> None:
        """Build the layers and draw the weights from `rng`, or from a seed. Raises ConfigError for half precision."""
        if not isinstance(config, MLPConfig):
            raise ConfigError(
                f"a network is built from an MLPConfig, not {shown(config)}: MLP(MLPConfig(layers=(784, 128, 10)))",
                field="config",
            )
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ConfigError(
                f"a network computes in float32 or float64, not {np.dtype(dtype)}; "
                "to store half as many bytes, use export.to_bytes(network, np.float16)",
                field="dtype",
            )
        self.config = config
        self.classes_: np.ndarray = np.arange(max(config.layers[-1], 2))  # the label of each class number
        self.layers = build_layers(config)
        self.layers[0].needs_input_gradient = False
        shapes = named_shapes(self.layers)
        self.n_weights = sum(math.prod(shape) for name, shape in shapes.items() if _is_weight(name))
        self.parameters: Floats = np.zeros(sum(map(math.prod, shapes.values())), dtype)
        self.gradients: Floats = np.zeros(len(self.parameters), dtype)  # takes memory once they are written
        bind_all(self.layers, self._views(self.parameters, shapes), self._views(self.gradients, shapes))
        if config.initializer != "zeros":
            self._initialize(rng if isinstance(rng, np.random.Generator) else weights_rng(rng))
        self._output = ACTIVATIONS[config.output]

    fit = estimator.fit
    predict_classes = estimator.predict_classes
    score = estimator.score
    summary = estimator.summary
    __repr__ = estimator.represent
    __sklearn_clone__ = estimator.refuse_clone

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle needs; views of the flat vectors would come back as separate arrays."""
        built = ("n_weights", "parameters", "gradients", "layers", "_output")
        own = {name: value for name, value in vars(self).items() if name not in built}
        return own | {"dtype": self.parameters.dtype.type, "arrays": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the layers again, over new flat vectors, and copy the arrays into them."""
        own = dict(state)
        arrays, dtype = own.pop("arrays"), own.pop("dtype")
        MLP.__init__(self, state["config"].replace(initializer="zeros"), dtype=dtype)
        vars(self).update(own)
        self.load_state_dict(arrays)

    def _views(self, vector: Floats, shapes: dict[str, Shape]) -> dict[str, Floats]:
        """Cut a flat vector into views: weights from the front in order, everything else from the back."""
        views, front, back = {}, 0, len(vector)
        for name, shape in shapes.items():
            size = math.prod(shape)
            if _is_weight(name):
                views[name], front = vector[front : front + size].reshape(shape), front + size
            else:
                views[name], back = vector[back - size : back].reshape(shape), back - size
        return views

    def _initialize(self, rng: np.random.Generator) -> None:
        draw = INITIALIZERS[self.config.initializer]
        draw_bias = BIAS_INITIALIZERS.get(self.config.initializer)
        for name, array in self.state_dict().items():
            if _is_weight(name):
                array[:] = draw(rng, *array.shape)
            elif name.endswith("bias") and draw_bias:
                array[:] = draw_bias(rng, 1, *array.shape)[0]

    def state_dict(self) -> dict[str, Floats]:
        """Return everything that is saved, by name: views of the parameters, and running statistics."""
        return named_arrays(self.layers)

    def load_state_dict(self, arrays: Mapping[str, Floats]) -> None:
        """Copy arrays, named as in `state_dict`, into the network."""
        for name, array in self.state_dict().items():
            array[:] = arrays[name]

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """Return (logits, backward) for rows x (n, layers[0]). Training mode if `rng` is given, inference otherwise."""
        return forward_through(self.layers, x, rng)

    def forward_with_output(self, x: Floats) -> Floats:
        """Return the outputs, after the output activation, of all rows at once."""
        logits, _ = forward_through(self.layers, x)
        return self._output(logits)[0]

    def predict(self, x: Floats) -> Floats:
        """Return the outputs (n, layers[-1]) for rows x (n, layers[0]), in batches. Thread-safe.

        Lists and data frames are accepted. Raises DataError for rows of the wrong width, numbers that are not finite,
        and raw pixels 0 … 255.
        """
        x = rows(self.config, self.parameters.dtype, x)
        if len(x) <= PREDICT_BATCH:
            return self.forward_with_output(x)
        starts = range(0, len(x), PREDICT_BATCH)
        return np.concatenate([self.forward_with_output(x[start : start + PREDICT_BATCH]) for start in starts])

    def loss_and_gradients(
        self,
        loss: Loss,
        x: Floats,
        targets: Targets,
        weights: Floats | None = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[float, Floats]:
        """Write the gradients of the loss over a batch into `gradients`; return the loss and its first argument."""
        predictions, backward = forward_through(self.layers, x, rng)
        if loss.takes == "outputs":
            predictions, output_backward = self._output(predictions)
            value, gradient = loss.function(predictions, targets, weights)
            backward(output_backward(gradient))
        else:
            value, gradient = loss.function(predictions, targets, weights)
            backward(gradient)
        return value, predictions
