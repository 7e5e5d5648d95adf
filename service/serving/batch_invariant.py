"""A network's answers for serving: to one picture the same bits, whatever other pictures it is batched with.

BLAS adds up in another order for another number of rows, and some of its kernels even by a row's place, so that a
picture answered alone and in company would differ in the last bits. Eight rows at a time, and the last by four and by
two, padded with zeros, do not on most processors: that is tried out for every network that is loaded, and where it does
not hold, none go by two, or all by four, or one by one.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from training import MLP
from training.activations import ACTIVATIONS
from training.arrays import Floats
from training.layers import Dense, Layer, Residual

Forward = Callable[[Floats], Floats]
"""Rows (n, inputs) → (n, outputs)."""

_SIZES = ((8, 4, 2), (8, 4), (4,))
"""Of the blocks that rows go through in; the first that are steady are taken."""
LARGE_PARAMETERS = 1_000_000
"""From so many on a network's weights come from memory for each block; to multiply by eight rows takes no longer."""
_SIZES_OF_LARGE = ((8,), *_SIZES)
_GOLDEN = (math.sqrt(5) - 1) / 2
_TRIED = (*(1,) * 24, 2, 3, 4, 5, 7, 8, 12, 16, 31, 64)
"""Numbers of rows that are tried. Many rows alone: with a single output only one in three may differ."""


def batch_invariant_forward(network: MLP) -> Forward:
    """Give the function of a network's outputs in which no row depends on the others, to the last bit."""
    output = ACTIVATIONS[network.config.output]

    def logits(x: Floats, sizes: Sequence[int]) -> Floats:
        rows = x
        if len(x) % sizes[-1]:
            rows = np.zeros((len(x) + -len(x) % sizes[-1], x.shape[1]), x.dtype)
            rows[: len(x)] = x
        return _through(network.layers, rows, sizes)[: len(x)]

    def in_blocks(x: Floats, sizes: Sequence[int]) -> Floats:
        return output(logits(x, sizes))[0]

    def logits_and_outputs(x: Floats, sizes: Sequence[int]) -> Floats:
        found = logits(x, sizes)
        return np.concatenate([found, output(found)[0]], axis=1)

    def one_by_one(x: Floats) -> Floats:
        return np.concatenate([network.outputs(row[None]) for row in x]) if len(x) else network.outputs(x)

    is_large = network.parameters.size >= LARGE_PARAMETERS
    for sizes in _SIZES_OF_LARGE if is_large else _SIZES:
        # The logits, too: where a network is sure, its outputs would hide what differs.
        if is_batch_invariant(partial(logits_and_outputs, sizes=sizes), network):
            return partial(in_blocks, sizes=sizes)
    return one_by_one


def is_batch_invariant(outputs: Forward, network: MLP) -> bool:
    """Try out whether rows get the same bits in any company and at any place."""
    count, inputs = max(_TRIED), network.config.layers[0]
    # Multiples of the golden ratio, without their whole part, are spread as chance would: NumPy's takes 3 MB to import.
    spread = np.arange(count * inputs) * _GOLDEN % 1
    rows, order = spread.astype(np.float32).reshape(count, inputs), np.argsort(spread[:count])
    expected = outputs(rows)
    for place, count in enumerate(_TRIED):
        chosen = np.roll(order, 7 * place)[:count]
        if not np.array_equal(outputs(rows[chosen]), expected[chosen]):
            return False
    return True


def _through(layers: Sequence[Layer], x: Floats, sizes: Sequence[int]) -> Floats:
    """Pass rows through layers as they answer in service, and through the matrices in blocks."""
    for layer in layers:
        if isinstance(layer, Dense):
            x = _product(x, layer.weight, sizes)
            if layer.bias is not None:
                x += layer.bias
        elif isinstance(layer, Residual):
            x = x + _through(layer.layers, x, sizes)
        else:
            x, _ = layer.forward(x)
    return x


def _product(x: Floats, weight: Floats, sizes: Sequence[int]) -> Floats:
    y = np.empty((len(x), weight.shape[1]), x.dtype)
    if len(x) in sizes:
        return np.dot(x, weight, out=y)
    start = 0
    for size in sizes:
        while start + size <= len(x):
            np.dot(x[start : start + size], weight, out=y[start : start + size])
            start += size
    return y
