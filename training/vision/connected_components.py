"""Connected components of a binary image, and the selection of those that form the glyph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.types import Floats

Mask = NDArray[np.bool_]

_SPECK = 0.006  # of all ink; smaller components are specks
_FRAME_BAND = 0.12  # relative width of the band along the edges of its bounding box that a frame fills
_FRAME_SHARE = 0.85


@dataclass(frozen=True)
class Components:
    """Connected components: `labels` (height, width) numbers them from 0, −1 elsewhere; the rest is by component."""

    labels: NDArray[np.int64]
    weights: Floats
    """Total ink."""
    tops: NDArray[np.int64]
    bottoms: NDArray[np.int64]
    lefts: NDArray[np.int64]
    rights: NDArray[np.int64]
    """First and last row and column."""

    @property
    def at_edge(self) -> Mask:
        """Whether each touches the border of the image."""
        height, width = self.labels.shape
        at_edge: Mask = (self.tops == 0) | (self.lefts == 0) | (self.bottoms == height - 1) | (self.rights == width - 1)
        return at_edge


def label_components(ink: Floats, mask: Mask) -> Components:
    """Label the 8-connected components of `mask`. Ink outside it is not counted.

    Runs of pixels in neighbouring rows are merged by hooking and pointer jumping (Shiloach and Vishkin 1982).
    """
    height, width = mask.shape
    stride = width + 1  # a gap after each row ends its runs
    spaced = np.zeros((height, stride), np.int8)
    spaced[:, :width] = mask
    changes = np.flatnonzero(np.diff(spaced.ravel(), prepend=0, append=0))
    starts, stops = changes[::2], changes[1::2]
    first = np.searchsorted(stops, starts + stride)
    counts = np.searchsorted(starts, stops + stride, side="right") - first
    above = np.repeat(np.arange(len(starts)), counts)
    below = np.arange(len(above)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    parts = _merge_runs(len(starts), above, below)
    labels = np.full(mask.shape, -1)
    labels[mask] = np.repeat(parts, stops - starts)
    number = int(parts.max()) + 1 if len(parts) else 0
    rows, begins, ends = starts // stride, starts % stride, (stops - 1) % stride
    tops, lefts = np.full(number, height), np.full(number, width)
    bottoms, rights = np.zeros(number, int), np.zeros(number, int)
    np.minimum.at(tops, parts, rows)
    np.maximum.at(bottoms, parts, rows)
    np.minimum.at(lefts, parts, begins)
    np.maximum.at(rights, parts, ends)
    weights = np.bincount(labels[mask], ink[mask], minlength=number).astype(np.float32)
    return Components(labels, weights, tops, bottoms, lefts, rights)


def _merge_runs(count: int, above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    roots = np.arange(count)
    while True:
        left, right = roots[above], roots[below]
        if np.array_equal(left, right):
            return np.unique(roots, return_inverse=True)[1]
        np.minimum.at(roots, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(further := roots[roots], roots):
            roots = further


def select_glyph_components(found: Components) -> Mask:
    """Select the components of the glyph: no specks, no frame around others, nothing cut off by the border.

    Returns a mask (components,), which is all False if all are specks. Otherwise at least one is selected.
    """
    kept: Mask = found.weights >= _SPECK * found.weights.sum()
    for index in np.flatnonzero(kept).tolist():
        others = kept.copy()
        others[index] = False
        if others.any() and _surrounds(found, index, others):
            kept = others
    inside = kept & ~found.at_edge
    if found.weights[inside].sum() > 0.15 * found.weights[kept].sum():
        kept = inside
    return kept


def _surrounds(found: Components, index: int, others: Mask) -> bool:
    """Whether a component is a frame: it fills the edges of its bounding box, and a larger one lies inside."""
    top, bottom, left, right = (int(side[index]) for side in (found.tops, found.bottoms, found.lefts, found.rights))
    height, width = bottom - top + 1, right - left + 1
    within = others & (found.tops > top) & (found.bottoms < bottom) & (found.lefts > left) & (found.rights < right)
    tall = (found.bottoms - found.tops)[within]
    if not tall.size or tall.max() < 0.2 * height:
        return False
    part = found.labels[top : bottom + 1, left : right + 1] == index
    down, across = max(1, round(_FRAME_BAND * height)), max(1, round(_FRAME_BAND * width))
    return int(part[down:-down, across:-across].sum()) < (1 - _FRAME_SHARE) * int(part.sum())
