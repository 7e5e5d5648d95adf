"""Products without the inputs that are zero in every training example.

A tenth of MNIST's pixels is 0 in each training image: their weights take part in every product and get no gradient.
So an epoch is trained on a copy of the network whose inputs are sorted, the most often non-zero first. A batch is then
cut after its last non-zero input (`reach`), and `Dense` takes such short rows. All parameters stay, and the optimizer
updates them all: momentum, L2 and weight decay act on the weights of silent inputs as they do without the copy. The
result is that of plain training but for the order in which a product sums, about 1e-7 of each sum in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from training.fit.optim import Optimizer
from training.nn.layers import Dense
from training.nn.mlp import MLP
from training.types import Floats, Labels

WORTHWHILE = 0.95
"""Share of non-zero inputs above which cutting the others off is not worth the copy."""


def input_order(network: MLP, x: Floats) -> Labels | None:
    """Sort the columns of x (n, features) by how many rows are not 0 there, most first; ties keep their order.

    None when nearly all columns have a row that is not 0, or none has, or when the first layer needs whole rows.
    """
    if not isinstance(network.layers[0], Dense):
        return None
    counts = np.count_nonzero(x, axis=0)
    order: Labels = np.argsort(-counts, kind="stable")
    return order if 0 < np.count_nonzero(counts) <= WORTHWHILE * x.shape[1] else None


def sorted_inputs(x: Floats, order: Labels) -> Floats:
    """Copy x (n, features) with its columns in this order, without those at the end that are 0 in every row."""
    used = np.count_nonzero(np.count_nonzero(x, axis=0))
    return np.take(x, order[:used], axis=1)


def reach(x: Floats) -> Labels:
    """Count for each row of x (n, features) the columns up to its last that is not 0; all for a row of zeros."""
    reaches: Labels = x.shape[1] - (x[:, ::-1] != 0).argmax(axis=1)
    return reaches


@contextmanager
def reordered(network: MLP, optimizer: Optimizer, order: Labels) -> Iterator[MLP]:
    """Give a copy of the network that takes its inputs in this order, and write it back at the end, after errors too.

    The optimizer's state is in the copy's order within the block, and in the network's outside of it.
    """
    learner = MLP(network.config.replace(initializer="zeros"), dtype=network.parameters.dtype.type)
    for name, array in learner.arrays().items():
        given = network.arrays()[name]
        array[:] = given[order] if name == _FIRST else given
    _sort_state(network, optimizer, order)
    try:
        yield learner
    finally:
        for name, array in network.arrays().items():
            array[order if name == _FIRST else ...] = learner.arrays()[name]
        _sort_state(network, optimizer, np.argsort(order))


def _sort_state(network: MLP, optimizer: Optimizer, order: Labels) -> None:
    """Sort the rows of the first weight in each array of the state that has an entry for each parameter."""
    fan_in, fan_out = network.config.layers[:2]
    for array in optimizer.state.values():
        if array.shape == network.parameters.shape:  # the first weight is at the front of the flat vector
            rows = array[: fan_in * fan_out].reshape(fan_in, fan_out)
            rows[:] = rows[order]


_FIRST = "0.weight"
