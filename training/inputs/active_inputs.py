"""Faster training on inputs that are mostly zero, such as the borders of MNIST's images.

A tenth of MNIST's pixels is 0 in every training image. Their weights take part in every product and get no gradient.
So each epoch trains a copy of the network whose inputs are sorted by how often they are nonzero, and each batch is
truncated after its last nonzero input. All parameters stay, and the optimizer updates all of them. The result is that
of plain training up to the order of summation, about 1e-7 of each sum in float32.

The training loop calls `sort_inputs` once and `active_network` in each epoch; nothing else depends on this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from training.fit.optim import UpdateRule
from training.inputs.examples import Examples
from training.nn.activations import Backward
from training.nn.layers import Dense
from training.nn.mlp import MLP
from training.types import Floats, Labels, Targets

MAX_ACTIVE_FRACTION = 0.95
"""Fraction of active inputs above which the copy costs more than it saves."""
_FIRST_WEIGHT = "0.weight"


@dataclass(frozen=True)
class SortedExamples(Examples):
    """Examples whose columns are in the order of `input_order`, without those that are zero in every row."""

    order: Labels
    """The column of the original inputs that each column of the sorted ones is, and the inactive ones at the end."""
    extents: Labels
    """See `row_extents`."""

    def batch(self, rows: Labels) -> tuple[Floats, Targets, Floats | None]:
        """See Examples; the inputs end after the last nonzero column of the batch."""
        x = self.x[:, : self.extents[rows].max()]
        return x[rows], self.targets[rows], None if self.weights is None else self.weights[rows]


class TruncatedDense(Dense):
    """A dense layer for rows that may be short: the inputs that they lack at their end are 0."""

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002 -- signature shared by all layers
        """See Layer."""
        n_inputs = x.shape[1]
        y = x @ self.weight[:n_inputs]
        if self.bias is not None:
            y += self.bias

        def backward(dy: Floats) -> Floats:
            np.matmul(x.T, dy, out=self._weight_gradient[:n_inputs])
            self._weight_gradient[n_inputs:] = 0
            if self._bias_gradient is not None:
                np.add.reduce(dy, axis=0, out=self._bias_gradient)
            return dy

        return y, backward


def sort_inputs(network: MLP, examples: Examples) -> Examples:
    """Return SortedExamples, or the examples as they are where sorting does not pay."""
    order = input_order(network, examples.x)
    if order is None:
        return examples
    n_active = np.count_nonzero(np.count_nonzero(examples.x, axis=0))
    x = np.take(examples.x, order[:n_active], axis=1)
    return SortedExamples(
        x, examples.targets, examples.weights, examples.loss, examples.count_correct, order, row_extents(x)
    )


def input_order(network: MLP, x: Floats) -> Labels | None:
    """Sort the columns of x (n, inputs) by their number of nonzero rows, largest first; the sort is stable.

    None if nearly all columns are active or none is, or if the first layer is not a dense one.
    """
    if type(network.layers[0]) is not Dense:
        return None
    counts = np.count_nonzero(x, axis=0)
    order: Labels = np.argsort(-counts, kind="stable")
    return order if 0 < np.count_nonzero(counts) <= MAX_ACTIVE_FRACTION * x.shape[1] else None


def row_extents(x: Floats) -> Labels:
    """Return, per row of x (n, inputs), the number of columns up to the last nonzero one; all for a row of zeros."""
    extents: Labels = x.shape[1] - (x[:, ::-1] != 0).argmax(axis=1)
    return extents


@contextmanager
def active_network(network: MLP, optimizer: UpdateRule, examples: Examples) -> Iterator[MLP]:
    """Yield the network to train on these examples: for SortedExamples a copy with its inputs in their order.

    At the end, also after errors, the copy is written back. Inside the block the optimizer's state is in the order of
    the copy.
    """
    if not isinstance(examples, SortedExamples):
        yield network
        return
    order, copy = examples.order, _truncating_copy(network)
    for name, array in copy.state_dict().items():
        original = network.state_dict()[name]
        array[:] = original[order] if name == _FIRST_WEIGHT else original
    _sort_state(network, optimizer, order)
    try:
        yield copy
    finally:
        for name, array in network.state_dict().items():
            array[order if name == _FIRST_WEIGHT else ...] = copy.state_dict()[name]
        _sort_state(network, optimizer, np.argsort(order))


def _truncating_copy(network: MLP) -> MLP:
    copy = MLP(network.config.replace(initializer="zeros"), dtype=network.parameters.dtype.type)
    dense = copy.layers[0]
    copy.layers[0] = TruncatedDense(dense.input_shape, dense.output_shape[0], bias="bias" in dense.parameters)
    copy.layers[0].bind(dense.parameters, dense.gradients)
    return copy


def _sort_state(network: MLP, optimizer: UpdateRule, order: Labels) -> None:
    """Sort the rows of the first weight in every array of the state that has an entry for each parameter."""
    fan_in, fan_out = network.config.layers[:2]
    for array in optimizer.state.values():
        if array.shape == network.parameters.shape:  # the first weight is at the front of the flat vector
            rows = array[: fan_in * fan_out].reshape(fan_in, fan_out)
            rows[:] = rows[order]
