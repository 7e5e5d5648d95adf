"""Background estimation: the brightness of the paper at each point of a photograph.

Illumination falls off and shadows have edges, so the background is not constant. The local median is the first
estimate. Then the local mean of the pixels close to the estimate replaces it, which excludes outliers (ink); this is
repeated three times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.types import Floats
from training.vision.borders import border
from training.vision.resize import interpolation_matrix, resize

_GRID = 48
"""Largest number of rows and columns of the grid of the estimate."""
_COARSE = 24
_SHADOW = 0.3
_REACH = 4
"""Radius of the local mean, in cells of the grid."""


@dataclass(frozen=True)
class Paper:
    """The brightness of the background on a grid over the image."""

    grid: Floats

    @property
    def is_plausible(self) -> bool:
        """Whether the contrast is that of illuminated paper; an estimate with more contrast has followed the ink."""
        return float(self.grid.min()) > _SHADOW * float(self.grid.max())

    def upsample(self, size: tuple[int, int], rows: slice = slice(None), columns: slice = slice(None)) -> Floats:
        """Interpolate to an image of this size, or to some of its rows and columns."""
        down = interpolation_matrix(self.grid.shape[0], size[0])[rows]
        across = interpolation_matrix(self.grid.shape[1], size[1])[columns]
        shades: Floats = down @ self.grid @ across.T
        return shades


def estimate_background(gray: Floats) -> Paper:
    """Estimate the background of an image (height, width)."""
    values = _on_grid(gray)
    shades = _local_medians(values)
    for _ in range(3):
        away = np.abs(values - shades)
        near = away <= max(2.5 * 1.4826 * float(np.median(away)), 4)
        shades = _local_means(values, near, shades)
    return Paper(shades)


def estimate_background_from_edge(gray: Floats) -> Paper:
    """Estimate the background of an image that may be mostly ink, as what prevails at its border: dark or light."""
    values = _on_grid(gray)
    light = values > otsu_threshold(values)
    near = light == (border(light).mean() > 0.5)
    return Paper(_local_means(values, near, np.full_like(values, values[near].mean())))


def otsu_threshold(gray: Floats) -> float:
    """Return the threshold that maximises the variance between dark and light pixels (Otsu 1979)."""
    counts = np.bincount(gray.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    apart = (sums * above - (sums[-1] - sums) * below) ** 2 / np.maximum(below * above, 1)
    return float(apart.argmax()) + 0.5


def _on_grid(gray: Floats) -> Floats:
    return resize(gray, min(gray.shape[0], _GRID), min(gray.shape[1], _GRID))


def _local_medians(values: Floats) -> Floats:
    """Median over a window of half the image around each cell; less than half of a window is ink."""
    height, width = (min(side, _COARSE) for side in values.shape)
    coarse = resize(values, height, width)
    reach = _COARSE // 4
    around = np.lib.stride_tricks.sliding_window_view(np.pad(coarse, reach, mode="symmetric"), (2 * reach + 1,) * 2)
    medians: Floats = np.median(around.reshape(height, width, -1), axis=-1)
    return resize(medians, *values.shape)


def _local_means(values: Floats, near: NDArray[np.bool_], shades: Floats) -> Floats:
    """Mean of the background pixels around each cell; without any, the previous estimate."""
    total = _box_sums(np.where(near, values, 0)) + 0.5 * shades
    means: Floats = total / (_box_sums(near.astype(np.float32)) + 0.5)
    return means


def _box_sums(values: Floats) -> Floats:
    """Sum over the square window around each cell."""
    for axis in (0, 1):
        sums = np.cumsum(values, axis=axis)
        last = values.shape[axis] - 1
        upper = np.take(sums, np.minimum(np.arange(last + 1) + _REACH, last), axis=axis)
        lower = np.take(sums, np.maximum(np.arange(last + 1) - _REACH - 1, 0), axis=axis)
        outside = np.arange(last + 1) - _REACH - 1 < 0
        lower[(outside, slice(None)) if axis == 0 else (slice(None), outside)] = 0
        values = upper - lower
    return values
