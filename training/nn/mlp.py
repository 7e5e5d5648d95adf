"""A multilayer perceptron: layers one after the other, and one flat vector that holds all they learn.

The flat vector lets an optimizer move everything in a few passes, and a checkpoint be one array. Weights stand at its
front, biases and the like at its back, so that weight decay is a slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from training import estimator
from training.errors import ConfigError
from training.inputs import rows
from training.limits import Limit, check_fields, checked_whole_numbers, shown
from training.nn.activations import ACTIVATIONS, Backward
from training.nn.init import BIASES, INITIALIZERS
from training.nn.layers import Activate, BatchNorm, Dense, Dropout, Layer, Residual, chain, numbered
from training.nn.losses import Loss
from training.random_streams import weights_rng
from training.settings import checked_choice, settings
from training.types import Floats, Targets
from training.vision.glyph import InputForm

CHUNK = 512
"""Rows that `predict` takes at a time: a chunk's activations stay in the CPU's cache."""

MAX_PARAMETERS = 100_000_000
_DROPOUT = Limit(0, math.nextafter(1, 0), "at least 0 and below 1")


@settings
@dataclass(frozen=True)
class MLPConfig:
    """Everything that makes a network but its weights. Raises ConfigError for what cannot be built."""

    layers: tuple[int, ...] = (784, 128, 64, 10)
    """Units from input to output."""
    activation: str = "relu"
    """What bends the hidden layers; a name in ACTIVATIONS."""
    output: str = "softmax"
    """The activation of the last layer."""
    initializer: str = "he"
    """How the weights start; a name in INITIALIZERS."""
    bias: bool = True
    """Whether layers have biases."""
    batch_norm: bool = False
    """Whether to normalise each hidden layer over the batch, before its activation."""
    dropout: float = 0.0
    """Share of the units of each hidden layer to silence while learning."""
    residual: bool = False
    """Whether hidden layers of equal width add their input to their output."""
    input: InputForm = field(default_factory=InputForm)
    """How pictures become the first layer's input."""

    def __post_init__(self) -> None:
        """Accept any sequence of sizes; refuse what cannot be built."""
        object.__setattr__(self, "layers", _sizes(self.layers))
        object.__setattr__(self, "input", _input_form(self.input))
        for name, table in (("activation", ACTIVATIONS), ("output", ACTIVATIONS), ("initializer", INITIALIZERS)):
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), table))
        check_fields(self, {"dropout": _DROPOUT})
        if parameter_count(self) > MAX_PARAMETERS:
            raise ConfigError(
                f"layers {shown(self.layers)} make more than {MAX_PARAMETERS:,} parameters", field="layers"
            )

    def described(self) -> dict[str, Any]:
        """Give the config as JSON values; see `InputForm.described`."""
        return asdict(self) | {"input": self.input.described()}

    def replace(self, **changes: Any) -> MLPConfig:
        """Copy with changes, checked like a new one."""
        return replace(self, **changes)


def _sizes(layers: Any) -> tuple[int, ...]:
    wanted = "two or more positive whole numbers, input first, such as 784,128,10"
    sizes = checked_whole_numbers("layers", layers, 1, wanted)
    if len(sizes) < 2:
        raise ConfigError(f"layers must be {wanted}; got {shown(layers)}", field="layers")
    return sizes


def _input_form(given: Any) -> InputForm:
    known = [field.name for field in fields(InputForm)]
    if isinstance(given, Mapping):
        if unknown := sorted(map(str, set(given) - set(known))):
            raise ConfigError(f"input takes {', '.join(known)}, not {', '.join(unknown)}", field="input")
        return InputForm(**given)
    if not isinstance(given, InputForm):
        raise ConfigError(f"input must map some of {', '.join(known)} to numbers, not {shown(given)}", field="input")
    return given


def weight_count(config: MLPConfig) -> int:
    """Count the entries of all weight matrices."""
    return sum(fan_in * fan_out for fan_in, fan_out in zip(config.layers, config.layers[1:], strict=False))


def parameter_count(config: MLPConfig) -> int:
    """Count what training changes: weights, biases, batch normalisation's scales and shifts."""
    hidden, output = sum(config.layers[1:-1]), config.layers[-1]
    biases = (0 if config.batch_norm else hidden) + output if config.bias else 0
    return weight_count(config) + biases + (2 * hidden if config.batch_norm else 0)


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
        self.weight_count = weight_count(config)
        self.parameters: Floats = np.zeros(parameter_count(config), dtype)
        self.gradients: Floats = np.zeros(parameter_count(config), dtype)  # takes memory once they are written
        self.layers = self._build()
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
        """Give what a copy or a pickle needs: views of the flat vectors would come back as arrays of their own."""
        built = ("weight_count", "parameters", "gradients", "layers", "_output")
        own = {name: value for name, value in vars(self).items() if name not in built}
        return own | {"dtype": self.parameters.dtype.type, "arrays": self.arrays()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the layers anew, over flat vectors of this network's own, and fill in their arrays."""
        own = dict(state)
        arrays, dtype = own.pop("arrays"), own.pop("dtype")
        MLP.__init__(self, state["config"].replace(initializer="zeros"), dtype=dtype)
        vars(self).update(own)
        for name, array in self.arrays().items():
            array[:] = arrays[name]

    def _build(self) -> list[Layer]:
        ends = [0, len(self.parameters)]  # weights are taken from the front, everything else from the back

        def take_weight(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
            start, ends[0] = ends[0], ends[0] + int(np.prod(shape))
            place = slice(start, ends[0])
            return self.parameters[place].reshape(shape), self.gradients[place].reshape(shape)

        def take_other(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
            stop, ends[1] = ends[1], ends[1] - int(np.prod(shape))
            place = slice(ends[1], stop)
            return self.parameters[place].reshape(shape), self.gradients[place].reshape(shape)

        config, layers = self.config, list[Layer]()
        for place, (fan_in, fan_out) in enumerate(zip(config.layers, config.layers[1:], strict=False)):
            last = place == len(config.layers) - 2
            normed = config.batch_norm and not last
            bias = take_other((fan_out,)) if config.bias and not normed else None
            residual = config.residual and not last and fan_in == fan_out
            # A residual block adds its input's gradient to its own, so it needs it, also in front.
            block: list[Layer] = [Dense(take_weight((fan_in, fan_out)), bias, input_gradient=place > 0 or residual)]
            if normed:
                block.append(BatchNorm(take_other((fan_out,)), take_other((fan_out,))))
            if not last:
                block.append(Activate(ACTIVATIONS[config.activation]))
                block += [Dropout(config.dropout)] if config.dropout else []
            layers += [Residual(block)] if residual else block
        return layers

    def _initialize(self, rng: np.random.Generator) -> None:
        draw = INITIALIZERS[self.config.initializer]
        draw_bias = BIASES.get(self.config.initializer)
        for name, array in self.arrays().items():
            if name.endswith("weight"):
                array[:] = draw(rng, *array.shape)
            elif name.endswith("bias") and draw_bias:
                array[:] = draw_bias(rng, 1, *array.shape)[0]

    def arrays(self) -> dict[str, Floats]:
        """Name all that must be saved: views of the parameters, and running statistics where there are some."""
        return numbered(self.layers)

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:
        """Answer (logits, backward) for rows x, shape (n, layers[0]); learning when a generator is given."""
        return chain(self.layers, x, rng)

    def outputs(self, x: Floats) -> Floats:
        """Answer what stands after the output activation, all rows at once."""
        logits, _ = chain(self.layers, x)
        return self._output(logits)[0]

    def predict(self, x: Floats) -> Floats:
        """Answer the outputs (n, layers[-1]) for rows x (n, layers[0]), in chunks; safe from many threads at once.

        Lists and data frames are taken. Raises DataError for rows of the wrong width, numbers that are not finite, and
        raw pixels 0 … 255.
        """
        x = rows(self.config, self.parameters.dtype, x)
        if len(x) <= CHUNK:
            return self.outputs(x)
        return np.concatenate([self.outputs(x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)])

    def backpropagate(
        self,
        loss: Loss,
        x: Floats,
        targets: Targets,
        weights: Floats | None = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[float, Floats]:
        """Fill `gradients` with those of the loss over a batch; answer (loss, what the loss saw)."""
        seen, backward = chain(self.layers, x, rng)
        if loss.sees == "outputs":
            seen, through_output = self._output(seen)
            value, gradient = loss.function(seen, targets, weights)
            backward(through_output(gradient))
        else:
            value, gradient = loss.function(seen, targets, weights)
            backward(gradient)
        return value, seen
