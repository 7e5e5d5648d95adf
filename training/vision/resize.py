"""Resizing: area averaging to smaller sizes, linear interpolation to larger ones."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.types import Floats


def resize(ink: Floats, rows: int, columns: int) -> Floats:
    """Resize an image (height, width) to (rows, columns)."""
    height, width = ink.shape
    if (rows, columns) == (height, width):
        return ink
    smaller: Floats = _averaging(height, rows) @ ink @ _averaging(width, columns).T
    return smaller


def interpolation_matrix(before: int, after: int) -> NDArray[np.float32]:
    """Return the matrix (after, before) of linear interpolation between pixel centres."""
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    distance = np.abs(np.clip(centres, 0, before - 1)[:, np.newaxis] - np.arange(before))
    return np.asarray(np.clip(1 - distance, 0, None), dtype=np.float32)


@lru_cache(maxsize=64)
def _averaging(before: int, after: int) -> NDArray[np.float32]:
    """Return the matrix (after, before) that averages over the area of each new pixel, or interpolates to enlarge."""
    if after > before:
        return interpolation_matrix(before, after)
    edges = np.linspace(0, before, after + 1)
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cells = np.arange(before)
    weights = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
