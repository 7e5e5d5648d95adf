"""What every version answers as tensors: the probabilities, and the label of the most probable class."""

from typing import Any

import numpy as np

from service.errors import InvalidTensor
from service.inference.open_inference import RequestedOutput
from service.inference.tensors import Tensor
from training.types import Floats

PROBABILITIES, LABEL = "probabilities", "label"
OUTPUTS = (PROBABILITIES, LABEL)


def check_outputs(outputs: list[RequestedOutput] | None) -> None:
    """See that the outputs that a request names exist. Raises InvalidTensor."""
    for output in outputs or ():
        if output.name not in OUTPUTS:
            raise InvalidTensor(f"the outputs are {' and '.join(OUTPUTS)}", field="outputs")
        if output.classes and output.name != PROBABILITIES:
            raise InvalidTensor(f"`classification` is for the output {PROBABILITIES}", field="classification")


def output_tensor(output: RequestedOutput, probabilities: Floats, labels: tuple[str, ...]) -> Tensor:
    """Make one output from the probabilities, (n, classes)."""
    if output.classes:
        return classification(probabilities, labels, output.classes)
    if output.name == LABEL:
        best = [labels[place].encode() for place in probabilities.argmax(axis=1).tolist()]
        return Tensor(LABEL, "BYTES", (len(best),), best)
    return Tensor(PROBABILITIES, "FP32", probabilities.shape, probabilities)


def classification(probabilities: Floats, labels: tuple[str, ...], most: int) -> Tensor:
    """Write the most probable classes of each row as `value:index:label`, highest first; no more than there are."""
    order = ranked(probabilities)[:, :most]
    rows = [
        f"{probabilities[row, place]!s}:{place}:{labels[place]}".encode()
        for row, places in enumerate(order.tolist())
        for place in places
    ]
    return Tensor(PROBABILITIES, "BYTES", order.shape, rows)


def ranked(probabilities: Floats) -> np.ndarray:
    """Give the classes of each row, the most probable first; of equals the first."""
    return np.argsort(-probabilities, axis=1, kind="stable")


def describe_outputs(classes: int) -> list[dict[str, Any]]:
    """Describe the outputs as the metadata of V2 does; -1 is any number."""
    return [
        {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, classes]},
        {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
    ]
