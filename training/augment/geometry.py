"""Warps: where each pixel of a deformed picture comes from, and what is read there.

A field says how far each pixel's origin lies from it; fields that are added are moves that are made together, so that
a picture is resampled, and blurred, only once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.types import Floats

Augment = Callable[[Floats, "np.random.Generator"], Floats]
"""A batch of inputs (n, features) → the same deformed; the labels stay."""

DisplacementField = Callable[[int, "np.random.Generator"], NDArray[np.float32]]
"""How far each pixel's origin lies from it: (n, rng) → rows and columns, float32 (n, 2, side²)."""

BLOCK = 128
"""Rows that are deformed at a time: their coordinates stay in the CPU's cache."""


def affine(
    side: int, max_shift: float, max_degrees: float, scales: tuple[float, float], max_shear: float
) -> DisplacementField:
    """Build the field of straight moves: about the picture's centre, each origin is a linear function of the pixel."""
    centred = np.indices((side, side), np.float32).reshape(2, side * side) - np.float32((side - 1) / 2)
    grid = np.vstack([centred, np.ones_like(centred[:1])])

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        turn, slant = rng.uniform(-1, 1, (2, count)) * [[np.deg2rad(max_degrees)], [max_shear]]
        height, width = rng.uniform(*scales, (2, count))
        cosine, sine = np.cos(turn), np.sin(turn)
        # Rotate, then slant, then shrink: where a pixel comes from is the inverse of where the picture goes.
        moves = np.empty((count, 2, 3), np.float32)
        moves[:, 0, 0], moves[:, 0, 1] = cosine / height - 1, sine / height
        moves[:, 1, 0], moves[:, 1, 1] = (slant * cosine - sine) / width, (slant * sine + cosine) / width - 1
        moves[:, :, 2] = rng.uniform(-max_shift, max_shift, (count, 2))
        moved: NDArray[np.float32] = moves.reshape(2 * count, 3) @ grid
        return moved.reshape(count, 2, side * side)

    return field


def elastic_field(side: int, alpha: float, sigma: float) -> DisplacementField:
    """Build the elastic field: noise, smoothed along rows and columns by one matrix product each."""
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
    """Read rows x (n, side²) at `origins` (n, 2, side²), rows and columns in pixels, by bilinear interpolation.

    Outside the picture everything is `background`. Whole-numbered origins give back exact pixels.
    """
    side = round(x.shape[1] ** 0.5)
    width = side + 2  # a frame of background: whatever falls off the picture lands on it
    framed = np.full((len(x), width, width), background, x.dtype)
    framed[:, 1:-1, 1:-1] = x.reshape(-1, side, side)
    places = np.clip(origins + np.float32(1), 0, np.nextafter(np.float32(side + 1), np.float32(0)))
    corners = places.astype(np.int32)
    places -= corners
    down, right = places[:, 0], places[:, 1]
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
