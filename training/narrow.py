"""Learning on the inputs that ever say something.

A tenth of MNIST's pixels is paper in every training image. Their weights get no gradient, yet take part in every
product: so training works on a narrower copy of the network, without them, and writes it back after each epoch.
The result is the same to the rounding of a sum. What the left-out weights held was the noise they started with;
it is set to zero, so that ink where training never saw any says nothing instead of something at random.

What is left is put in order, the input that speaks most often first: so the seldom heard stand together at the end,
and a batch in which they all are silent is cut off before them (see `reach`), which spares MNIST another tenth.
"""

import numpy as np

from training.arrays import Floats, Labels
from training.layers import Dense
from training.network import MLP

WORTHWHILE = 0.95
"""Share of speaking inputs above which leaving the others out is not worth the copy."""


def speaking_columns(network: MLP, x: Floats) -> Labels | None:
    """Find the columns of x (n, features) that are not 0 in every row, those that speak most often first.

    None when they are nearly all.
    """
    if not isinstance(network.layers[0], Dense):
        return None
    heard = np.count_nonzero(x, axis=0)
    columns: Labels = np.argsort(-heard, kind="stable")[: np.count_nonzero(heard)]
    return columns if 0 < len(columns) <= WORTHWHILE * x.shape[1] else None


def reach(x: Floats) -> Labels:
    """Tell for each row of x (n, features) how many columns hold all that it says; a row of silence takes them all."""
    reaches: Labels = x.shape[1] - (x[:, ::-1] != 0).argmax(axis=1)
    return reaches


def narrowed(network: MLP, columns: Labels) -> MLP:
    """Copy a network, its first layer seeing these inputs alone; the weights of the others become zero in both."""
    config = network.config
    narrow_config = config.replace(layers=(len(columns), *config.layers[1:]), initializer="zeros")
    narrow = MLP(narrow_config, dtype=network.parameters.dtype.type)
    for name, array in narrow.arrays().items():
        wide = network.arrays()[name]
        array[:] = wide[columns] if name == _FIRST else wide
    return narrow


def widen(network: MLP, narrow: MLP, columns: Labels) -> None:
    """Write a narrow network's arrays back into the network that it came from."""
    for name, array in network.arrays().items():
        learned = narrow.arrays()[name]
        if name == _FIRST:
            array[:] = 0
            array[columns] = learned
        else:
            array[:] = learned


_FIRST = "0.weight"
