"""Batch-invariant inference: the result for an image is bitwise identical in any batch.

The order in which BLAS sums depends on the number of rows, and in some kernels on the position of a row, so the result
for an image may differ in the last bits between batches. On most processors it does not if rows are multiplied in
blocks of eight and the remainder in blocks of four and two, padded with zeros. Each network is tested when it is
loaded; if these block sizes fail, smaller sets of sizes are tried, and finally one row at a time.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from training import MLP
from training.nn.activations import ACTIVATIONS
from training.nn.layers import Dense, Layer, Residual
from training.types import Floats

Forward = Callable[[Floats], Floats]
"""(n, inputs) → (n, outputs)."""

_BLOCK_SIZES = ((8, 4, 2), (8, 4), (4,))
"""Sets of block sizes; the first that is batch-invariant is used."""
LARGE_PARAMETERS = 1_000_000
"""From this size on, weights do not fit the cache, and multiplying eight rows takes as long as one."""
_LARGE_BLOCK_SIZES = ((8,), *_BLOCK_SIZES)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_TESTED_COUNTS = (*(1,) * 24, 2, 3, 4, 5, 7, 8, 12, 16, 31, 64)
"""Row counts that are tested. Many single rows: with one output, only one row in three may differ."""


def batch_invariant_forward(network: MLP) -> Forward:
    """Return a function that computes a network's outputs, in which no row depends on the others."""
    output = ACTIVATIONS[network.config.output]

    def logits(x: Floats, sizes: Sequence[int]) -> Floats:
        rows = x
        if len(x) % sizes[-1]:
            rows = np.zeros((len(x) + -len(x) % sizes[-1], x.shape[1]), x.dtype)
            rows[: len(x)] = x
        return _apply(network.layers, rows, sizes)[: len(x)]

    def in_blocks(x: Floats, sizes: Sequence[int]) -> Floats:
        return output(logits(x, sizes))[0]

    def logits_and_outputs(x: Floats, sizes: Sequence[int]) -> Floats:
        z = logits(x, sizes)
        return np.concatenate([z, output(z)[0]], axis=1)

    def one_by_one(x: Floats) -> Floats:
        return (
            np.concatenate([network.forward_with_output(row[None]) for row in x])
            if len(x)
            else network.forward_with_output(x)
        )

    is_large = network.parameters.size >= LARGE_PARAMETERS
    for sizes in _LARGE_BLOCK_SIZES if is_large else _BLOCK_SIZES:
        # The logits too: saturated outputs would hide differences.
        if is_batch_invariant(partial(logits_and_outputs, sizes=sizes), network):
            return partial(in_blocks, sizes=sizes)
    return one_by_one


def is_batch_invariant(forward: Forward, network: MLP) -> bool:
    """Test whether the result for a row is bitwise identical in any batch and at any position."""
    count, inputs = max(_TESTED_COUNTS), network.config.layers[0]
    # The fractional parts of multiples of the golden ratio are spread evenly; numpy.random takes 3 MB to import.
    spread = np.arange(count * inputs) * _GOLDEN_RATIO % 1
    rows, order = spread.astype(np.float32).reshape(count, inputs), np.argsort(spread[:count])
    expected = forward(rows)
    for i, count in enumerate(_TESTED_COUNTS):
        batch = np.roll(order, 7 * i)[:count]
        if not np.array_equal(forward(rows[batch]), expected[batch]):
            return False
    return True


def _apply(layers: Sequence[Layer], x: Floats, sizes: Sequence[int]) -> Floats:
    """Apply layers to rows in inference mode, with the matrix products in blocks."""
    for layer in layers:
        if isinstance(layer, Dense):
            x = _multiply(x, layer.weight, sizes)
            if layer.bias is not None:
                x += layer.bias
        elif isinstance(layer, Residual):
            x = x + _apply(layer.layers, x, sizes)
        else:
            x, _ = layer.forward(x)
    return x


def _multiply(x: Floats, weight: Floats, sizes: Sequence[int]) -> Floats:
    y = np.empty((len(x), weight.shape[1]), x.dtype)
    if len(x) in sizes:
        return np.dot(x, weight, out=y)
    start = 0
    for size in sizes:
        while start + size <= len(x):
            np.dot(x[start : start + size], weight, out=y[start : start + size])
            start += size
    return y
