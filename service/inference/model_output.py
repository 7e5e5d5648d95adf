"""The output tensors of every model: the probabilities and the most probable label."""

from typing import Any

import numpy as np

from service.errors import InvalidTensor
from service.inference.open_inference import RequestedOutput
from service.inference.tensors import Tensor
from training.types import Floats

PROBABILITIES, LABEL = "probabilities", "label"
OUTPUTS = (PROBABILITIES, LABEL)


def check_outputs(outputs: list[RequestedOutput] | None) -> None:
    """Raise InvalidTensor if a request names an unknown output."""
    for output in outputs or ():
        if output.name not in OUTPUTS:
            raise InvalidTensor(f"the outputs are {' and '.join(OUTPUTS)}", field="outputs")
        if output.classes and output.name != PROBABILITIES:
            raise InvalidTensor(
                f"`classification` is only available for the output {PROBABILITIES}", field="classification"
            )


def output_tensor(output: RequestedOutput, probabilities: Floats, labels: tuple[str, ...]) -> Tensor:
    """Return one output for probabilities (n, classes)."""
    if output.classes:
        return top_classes(probabilities, labels, output.classes)
    if output.name == LABEL:
        best = [labels[index].encode() for index in probabilities.argmax(axis=1).tolist()]
        return Tensor(LABEL, "BYTES", (len(best),), best)
    return Tensor(PROBABILITIES, "FP32", probabilities.shape, probabilities)


def top_classes(probabilities: Floats, labels: tuple[str, ...], k: int) -> Tensor:
    """Return the `k` most probable classes of each row as `value:index:label`, highest first."""
    order = rank_classes(probabilities)[:, :k]
    rows = [
        f"{probabilities[row, index]!s}:{index}:{labels[index]}".encode()
        for row, indices in enumerate(order.tolist())
        for index in indices
    ]
    return Tensor(PROBABILITIES, "BYTES", order.shape, rows)


def rank_classes(probabilities: Floats) -> np.ndarray:
    """Return the class indices of each row, the most probable first. The sort is stable."""
    return np.argsort(-probabilities, axis=1, kind="stable")


def describe_outputs(classes: int) -> list[dict[str, Any]]:
    """Return the V2 metadata of the outputs; -1 is a variable dimension."""
    return [
        {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, classes]},
        {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
    ]
