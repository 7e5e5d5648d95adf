"""The architecture of a network, as frozen data, and the layers that it stands for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from training.deprecation import renamed
from training.errors import ConfigError
from training.limits import Limit, shown, validate_fields, validate_whole_numbers
from training.nn.activations import ACTIVATIONS
from training.nn.init import INITIALIZERS
from training.nn.layers import LAYERS, Activation, BatchNorm, Dense, Dropout, Layer, Residual, Shape, named_shapes
from training.settings import settings, validate_choice
from training.vision.input_spec import InputSpec, as_input_spec

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
