"""What lies under the ink: the paper's shade all over a picture, and its noise.

A photograph's paper is no one shade: light falls off to one side, a hand throws its shadow. First a smooth surface is
laid through the pixels that most of the picture agrees on, again and again through those near it, until the ink has no
say; then each place takes the mean of such pixels around it, so that shadows with edges are followed too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.types import Floats
from training.vision.resize import interpolation_matrix, resize

_DEGREES = (0, 1, 2, 3, 3)
_GRID = 48
"""The paper is looked for on so many rows and columns at most."""
_COARSE = 24
_SHADOW = 0.3
_REACH = 4
"""How far around a place of the grid its shade is taken from."""


@dataclass(frozen=True)
class Paper:
    """The shade of the paper on a grid over the picture."""

    grid: Floats

    @property
    def is_plausible(self) -> bool:
        """Whether it is lit as paper is: in the deepest shadow there is some light. Else it follows the ink."""
        return float(self.grid.min()) > _SHADOW * float(self.grid.max())

    def upsample(self, size: tuple[int, int], rows: slice = slice(None), columns: slice = slice(None)) -> Floats:
        """Give the shades for some rows and columns of the picture, or of another size of it."""
        down = interpolation_matrix(self.grid.shape[0], size[0])[rows]
        across = interpolation_matrix(self.grid.shape[1], size[1])[columns]
        shades: Floats = down @ self.grid @ across.T
        return shades


def estimate_background(gray: Floats) -> Paper:
    """Find the paper of a picture (height, width)."""
    values = _on_grid(gray)
    shades = _local_medians(values)
    for _ in range(3):
        away = np.abs(values - shades)
        near = away <= max(2.5 * 1.4826 * float(np.median(away)), 4)
        shades = _local_means(values, near, shades)
    return Paper(shades)


def estimate_background_from_edge(gray: Floats) -> Paper:
    """Find the paper of a picture that may be ink for the most part: dark or light, what the edge has more of."""
    values = _on_grid(gray)
    light = values > otsu_threshold(values)
    edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    near = light == (edge.mean() > 0.5)
    return Paper(_local_means(values, near, np.full_like(values, values[near].mean())))


def otsu_threshold(gray: Floats) -> float:
    """Part dark from light where the two lie farthest apart (Otsu 1979)."""
    counts = np.bincount(gray.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    apart = (sums * above - (sums[-1] - sums) * below) ** 2 / np.maximum(below * above, 1)
    return float(apart.argmax()) + 0.5


def _on_grid(gray: Floats) -> Floats:
    return resize(gray, min(gray.shape[0], _GRID), min(gray.shape[1], _GRID))


def _local_medians(values: Floats) -> Floats:
    """Take the median over half of the picture around each place: ink is less than half of that."""
    height, width = (min(side, _COARSE) for side in values.shape)
    coarse = resize(values, height, width)
    reach = _COARSE // 4
    around = np.lib.stride_tricks.sliding_window_view(np.pad(coarse, reach, mode="symmetric"), (2 * reach + 1,) * 2)
    medians: Floats = np.median(around.reshape(height, width, -1), axis=-1)
    return resize(medians, *values.shape)


def _local_means(values: Floats, near: NDArray[np.bool_], shades: Floats) -> Floats:
    """Average the pixels of the paper around each place; where there is none, the shade stays as it was."""
    total = _box_sums(np.where(near, values, 0)) + 0.5 * shades
    means: Floats = total / (_box_sums(near.astype(np.float32)) + 0.5)
    return means


def _box_sums(values: Floats) -> Floats:
    """Sum over the square around each place."""
    for axis in (0, 1):
        sums = np.cumsum(values, axis=axis)
        last = values.shape[axis] - 1
        upper = np.take(sums, np.minimum(np.arange(last + 1) + _REACH, last), axis=axis)
        lower = np.take(sums, np.maximum(np.arange(last + 1) - _REACH - 1, 0), axis=axis)
        outside = np.arange(last + 1) - _REACH - 1 < 0
        lower[(outside, slice(None)) if axis == 0 else (slice(None), outside)] = 0
        values = upper - lower
    return values
