"""Pictures made smaller by averaging over areas, and larger by going straight from pixel to pixel."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.types import Floats


def resize(ink: Floats, rows: int, columns: int) -> Floats:
    """Resize a picture (height, width) to (rows, columns)."""
    height, width = ink.shape
    if (rows, columns) == (height, width):
        return ink
    smaller: Floats = _averaging(height, rows) @ ink @ _averaging(width, columns).T
    return smaller


def interpolation_matrix(before: int, after: int) -> NDArray[np.float32]:
    """Make the matrix (after, before) that goes straight from pixel to pixel, from their middles."""
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    distance = np.abs(np.clip(centres, 0, before - 1)[:, np.newaxis] - np.arange(before))
    return np.asarray(np.clip(1 - distance, 0, None), dtype=np.float32)


@lru_cache(maxsize=64)
def _averaging(before: int, after: int) -> NDArray[np.float32]:
    """Make the matrix (after, before) that averages over each new pixel's area, or interpolates when enlarging."""
    if after > before:
        return interpolation_matrix(before, after)
    edges = np.linspace(0, before, after + 1)
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cells = np.arange(before)
    weights = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
