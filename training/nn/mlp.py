"""The multilayer perceptron: layers in order, over one flat vector of parameters.

With a flat vector, an optimizer updates everything in a few passes, and a checkpoint is one array. Weights come first
and other parameters last, so weight decay acts on a slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from training import estimator
from training.deprecation import renamed
from training.errors import ConfigError
from training.inputs import rows
from training.limits import Limit, shown, validate_fields, validate_whole_numbers
from training.nn.activations import ACTIVATIONS, Backward
from training.nn.init import BIAS_INITIALIZERS, INITIALIZERS
from training.nn.layers import (
    LAYERS,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    Residual,
    Shape,
    bind_all,
    forward_through,
    named_arrays,
    named_shapes,
)
from training.nn.losses import Loss
from training.random_streams import weights_rng
from training.settings import settings, validate_choice
from training.types import Floats, Targets
from training.vision.input_spec import InputSpec, as_input_spec

PREDICT_BATCH = 512
"""Rows that `predict` processes at a time: the activations of so many fit into the CPU's cache."""

MAX_PARAMETERS = 100_000_000
_DROPOUT = Limit(0, math.nextafter(1, 0), "at least 0 and below 1")


@renamed(described="to_dict")
@settings
@dataclass(frozen=True)
class MLPConfig:
    """The architecture of a network. Raises ConfigError for one that cannot be built."""

    layers: tuple[int, ...] = (784, 128, 64, 10)
    """Units from input to output."""
    activation: str = "relu"
    """Hidden activation; a key of ACTIVATIONS."""
    output: str = "softmax"
    """Output activation; a key of ACTIVATIONS."""
    initializer: str = "he"
    """Distribution of the initial weights; a key of INITIALIZERS."""
    bias: bool = True
    """Whether layers have biases."""
    batch_norm: bool = False
    """Whether to apply batch normalisation to each hidden layer, before its activation."""
    dropout: float = 0.0
    """Dropout rate of the hidden layers."""
    residual: bool = False
    """Whether hidden layers of equal width are residual blocks."""
    input: InputSpec = field(default_factory=InputSpec)
    """How images become the input of the first layer."""
    stem: tuple[tuple[Any, ...], ...] = ()
    """Layers between the input and the first dense layer: (key of LAYERS, its options…), such as ("dropout", 0.2)."""

    def __post_init__(self) -> None:
        """Accept any sequence of sizes; refuse what cannot be built."""
        object.__setattr__(self, "layers", _sizes(self.layers))
        object.__setattr__(self, "input", as_input_spec(self.input))
        object.__setattr__(self, "stem", _stem(self.stem))
        for name, table in (("activation", ACTIVATIONS), ("output", ACTIVATIONS), ("initializer", INITIALIZERS)):
            object.__setattr__(self, name, validate_choice(name, getattr(self, name), table))
        validate_fields(self, {"dropout": _DROPOUT})
        try:
            count = parameter_count(self)
        except (TypeError, ValueError, KeyError) as error:  # raised by the constructor of a layer
            raise ConfigError(f"stem cannot be built: {error}", field="stem") from error
        if count > MAX_PARAMETERS:
            raise ConfigError(
                f"layers {shown(self.layers)} make more than {MAX_PARAMETERS:,} parameters", field="layers"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values. A setting that older releases do not know is left out if it has its default."""
        values = asdict(self) | {"input": self.input.to_dict()}
        if not self.stem:
            del values["stem"]
        return values

    def replace(self, **changes: Any) -> MLPConfig:
        """Copy with changes, checked like a new one."""
        return replace(self, **changes)


def _sizes(layers: Any) -> tuple[int, ...]:
    expected = "two or more positive whole numbers, input first, such as 784,128,10"
    sizes = validate_whole_numbers("layers", layers, 1, expected)
    if len(sizes) < 2:
        raise ConfigError(f"layers must be {expected}; got {shown(layers)}", field="layers")
    return sizes


def _stem(stem: Any) -> tuple[tuple[Any, ...], ...]:
    listed = stem if isinstance(stem, list | tuple) else [stem]
    specs = [tuple(spec) if isinstance(spec, list | tuple) else () for spec in listed]
    is_plain = all(isinstance(part, str | int | float) for spec in specs for part in spec)
    if not is_plain or not all(spec and spec[0] in LAYERS for spec in specs):
        known = ", ".join(LAYERS)
        raise ConfigError(f"stem must be a list of [layer, options…] with a layer of {known}", field="stem")
    return tuple(specs)


def build_layers(config: MLPConfig) -> list[Layer]:
    """Build the layers of a network, not yet bound to parameters."""
    inputs, side = config.layers[0], config.input.grid_size
    shape: Shape = (side, side, 1) if inputs == side**2 else (inputs,)
    layers: list[Layer] = []
    for name, *options in config.stem:
        layers.append(LAYERS[str(name)](shape, *options))
        shape = layers[-1].output_shape
    for index, units in enumerate(config.layers[1:], start=1):
        block: list[Layer] = [Dense(shape, units, bias=config.bias and not _is_normed(config, index))]
        if _is_normed(config, index):
            block.append(BatchNorm((units,)))
        if index < len(config.layers) - 1:
            block.append(Activation((units,), config.activation))
            block += [Dropout((units,), config.dropout)] if config.dropout else []
        is_residual = config.residual and index < len(config.layers) - 1 and shape == (units,)
        layers += [Residual(block)] if is_residual else block
        shape = (units,)
    return layers


def _is_normed(config: MLPConfig, index: int) -> bool:
    return config.batch_norm and index < len(config.layers) - 1


def parameter_count(config: MLPConfig) -> int:
    """Count what training changes: weights, biases, batch normalisation's scales and shifts."""
    return sum(math.prod(shape) for shape in named_shapes(build_layers(config)).values())


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
