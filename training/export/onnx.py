"""Export to ONNX. Needs `pip install glyphserve[onnx]`.

The graph maps `features`, float32 (n, inputs) as returned by `InputSpec.to_features`, to `outputs`, after the output
activation, for any n. The model metadata describes the preprocessing.
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import TrainingError
from training.nn.activations import ACTIVATIONS, ActivationFunction
from training.nn.layers import Activation, BatchNorm, Dense, Dropout, Layer, Residual
from training.nn.mlp import MLP
from training.types import Floats
from training.vision.glyph import preprocessing_id

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # supported by runtimes since 2022
INPUT, OUTPUT = "features", "outputs"

OPERATORS: dict[str, tuple[str, dict[str, Any]] | None] = {
    "linear": None,
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "swish": ("Sigmoid", {}),  # multiplied by its input
    "softmax": ("Softmax", {"axis": 1}),
}
"""The ONNX operator of each activation; None for the identity."""


def to_onnx(network: MLP, labels: Sequence[str] = ()) -> bytes:
    """Return the content of an `.onnx` file; `labels`, the names of the outputs, go into its metadata.

    Raises TrainingError without the onnx package, or for a layer without an ONNX form.
    """
    try:
        import onnx
    except ImportError:
        raise TrainingError("exporting to ONNX needs the onnx package: pip install glyphserve[onnx]") from None
    graph = _Graph()
    name = graph.activate(graph.stack(network.layers, INPUT), network.config.output)
    graph.node("Identity", [name], output=OUTPUT)
    sizes, helper = network.config.layers, onnx.helper
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "glyphserve",
            [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["n", sizes[0]])],
            [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", sizes[-1]])],
            graph.constants,
        ),
        producer_name="glyphserve",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    form = network.config.input
    metadata = {"input": form.to_dict(), "preprocessing": preprocessing_id(form), "labels": list(labels)}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _name_of(activation: ActivationFunction) -> str:
    return next(name for name, function in ACTIVATIONS.items() if function is activation)


class _Graph:
    """A graph under construction: its nodes and constants."""

    def __init__(self) -> None:
        """Start without nodes."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._writers: dict[type, Callable[[Any, str], str]] = {
            Dense: self._dense,
            BatchNorm: self._batch_norm,
            Activation: lambda layer, x: self.activate(x, _name_of(layer.function)),
            Dropout: lambda _, x: x,
            Residual: lambda layer, x: self.node("Add", [x, self.stack(layer.layers, x)]),
        }

    def stack(self, layers: Sequence[Layer], x: str) -> str:
        """Add layers in order; return the name of the output.

        A layer that is not in the table may have a method `to_onnx(graph, x)`. Raises TrainingError without one.
        """
        for layer in layers:
            if type(layer) in self._writers:
                x = self._writers[type(layer)](layer, x)
            elif hasattr(layer, "to_onnx"):
                x = layer.to_onnx(self, x)
            else:
                raise TrainingError(f"the layer {type(layer).__name__} cannot be exported: it has no method to_onnx")
        return x

    def node(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def activate(self, x: str, activation: str) -> str:
        """Add an activation."""
        operator = OPERATORS[activation]
        if operator is None:
            return x
        y = self.node(operator[0], [x], **operator[1])
        return self.node("Mul", [x, y]) if activation == "swish" else y

    def constant(self, array: Floats) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def _dense(self, layer: Dense, x: str) -> str:
        bias = [] if layer.bias is None else [self.constant(layer.bias)]
        return self.node("Gemm", [x, self.constant(layer.weight), *bias])

    def _batch_norm(self, layer: BatchNorm, x: str) -> str:
        constants = [self.constant(array) for array in (layer.scale, layer.shift, layer.mean, layer.variance)]
        return self.node("BatchNormalization", [x, *constants], epsilon=layer.EPSILON)
