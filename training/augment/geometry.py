"""Geometric transformations as displacement fields, and bilinear resampling.

A field maps each output pixel to the offset of its source. Fields can be added before resampling, so an image is
interpolated (and so blurred) only once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.types import Floats

Augment = Callable[[Floats, "np.random.Generator"], Floats]
"""A batch of inputs (n, features) → the augmented batch; labels stay the same."""

DisplacementField = Callable[[int, "np.random.Generator"], NDArray[np.float32]]
"""(n, rng) → offsets of the source of each pixel, rows and columns, float32 (n, 2, side²)."""

BLOCK = 128
"""Images that are processed at a time: their coordinates fit into the CPU's cache."""


def affine(
    side: int, max_shift: float, max_degrees: float, scales: tuple[float, float], max_shear: float
) -> DisplacementField:
    """Return the field of random affine transformations about the image centre."""
    centred = np.indices((side, side), np.float32).reshape(2, side * side) - np.float32((side - 1) / 2)
    grid = np.vstack([centred, np.ones_like(centred[:1])])

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        angle, shear = rng.uniform(-1, 1, (2, count)) * [[np.deg2rad(max_degrees)], [max_shear]]
        height, width = rng.uniform(*scales, (2, count))
        cosine, sine = np.cos(angle), np.sin(angle)
        # Rotate, shear, then scale down: the inverse of the transformation of the image.
        moves = np.empty((count, 2, 3), np.float32)
        moves[:, 0, 0], moves[:, 0, 1] = cosine / height - 1, sine / height
        moves[:, 1, 0], moves[:, 1, 1] = (shear * cosine - sine) / width, (shear * sine + cosine) / width - 1
        moves[:, :, 2] = rng.uniform(-max_shift, max_shift, (count, 2))
        moved: NDArray[np.float32] = moves.reshape(2 * count, 3) @ grid
        return moved.reshape(count, 2, side * side)

    return field


def elastic_field(side: int, alpha: float, sigma: float) -> DisplacementField:
    """Return the elastic field: uniform noise smoothed by a Gaussian, as one matrix product per axis."""
    distance = np.subtract.outer(np.arange(side), np.arange(side))
    bell = np.exp(-0.5 * np.square(np.arange(-4 * side, 4 * side + 1) / sigma)).sum()
    smooth = (np.exp(-0.5 * np.square(distance / sigma)) / bell).astype(np.float32)
    rows, columns = np.float32(2 * alpha) * smooth, smooth

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        noise = rng.random((count, 2, side, side), np.float32)
        noise -= np.float32(0.5)
        displaced: NDArray[np.float32] = rows @ (noise @ columns)
        return displaced.reshape(count, 2, side * side)

    return field


def bilinear_sample(x: Floats, origins: NDArray[np.float32], background: float = 0.0) -> Floats:
    """Sample images x (n, side²) at `origins` (n, 2, side²), rows and columns in pixels, by bilinear interpolation.

    Pixels outside the image are `background`. Integer origins return exact pixels.
    """
    side = round(x.shape[1] ** 0.5)
    width = side + 2  # a border of background, to which origins outside the image are clipped
    framed = np.full((len(x), width, width), background, x.dtype)
    framed[:, 1:-1, 1:-1] = x.reshape(-1, side, side)
    positions = np.clip(origins + np.float32(1), 0, np.nextafter(np.float32(side + 1), np.float32(0)))
    corners = positions.astype(np.int32)
    positions -= corners
    down, right = positions[:, 0], positions[:, 1]
    corner = corners[:, 0].astype(np.intp)
    corner *= width
    corner += corners[:, 1]
    corner += np.arange(0, framed.size, width * width)[:, np.newaxis]
    flat = framed.reshape(-1)

    def at(offset: int) -> Floats:
        pixel: Floats = np.take(flat[offset:], corner, mode="clip")
        return pixel

    above: Floats = at(0)
    below: Floats = at(width)
    above += right * (at(1) - above)
    below += right * (at(width + 1) - below)
    below -= above
    below *= down
    above += below
    return above
