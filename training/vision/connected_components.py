"""The connected parts of a black and white picture, and which of them are the glyph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.types import Floats

Mask = NDArray[np.bool_]

_SPECK = 0.006  # of all ink: smaller parts are dust
_FRAME_BAND = 0.12  # a frame lies in so narrow a band along the edges of its box
_FRAME_SHARE = 0.85


@dataclass(frozen=True)
class Components:
    """Connected parts: `labels` numbers the pixels of each from 0, with −1 for paper; the rest is by part."""

    labels: NDArray[np.int64]
    weights: Floats
    """How much ink each has."""
    tops: NDArray[np.int64]
    bottoms: NDArray[np.int64]
    lefts: NDArray[np.int64]
    rights: NDArray[np.int64]
    """The first and the last row and column of each."""

    @property
    def at_edge(self) -> Mask:
        """Whether each touches the edge of the picture."""
        height, width = self.labels.shape
        at_edge: Mask = (self.tops == 0) | (self.lefts == 0) | (self.bottoms == height - 1) | (self.rights == width - 1)
        return at_edge


def label_components(ink: Floats, mask: Mask) -> Components:
    """Find the parts of `mask` whose pixels touch, also by their corners. Ink outside of it is not counted.

    Runs of pixels along the rows are joined with those that they touch in the next row, by hooking each tree of runs
    to the lowest that it meets, all at once, until nothing moves.
    """
    height, width = mask.shape
    stride = width + 1  # a gap behind each row keeps runs from going on in the next
    spaced = np.zeros((height, stride), np.int8)
    spaced[:, :width] = mask
    changes = np.flatnonzero(np.diff(spaced.ravel(), prepend=0, append=0))
    starts, stops = changes[::2], changes[1::2]
    first = np.searchsorted(stops, starts + stride)
    counts = np.searchsorted(starts, stops + stride, side="right") - first
    above = np.repeat(np.arange(len(starts)), counts)
    below = np.arange(len(above)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    parts = _joined(len(starts), above, below)
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


def _joined(count: int, above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    roots = np.arange(count)
    while True:
        left, right = roots[above], roots[below]
        if np.array_equal(left, right):
            return np.unique(roots, return_inverse=True)[1]
        np.minimum.at(roots, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(further := roots[roots], roots):
            roots = further


def select_glyph_components(found: Components) -> Mask:
    """Choose the parts that are the glyph, bool by part: no dust, no frame around others, nothing cut by the edge.

    None, when each part is as small as dust. What else would leave nothing is not done.
    """
    kept: Mask = found.weights >= _SPECK * found.weights.sum()
    for place in np.flatnonzero(kept).tolist():
        others = kept.copy()
        others[place] = False
        if others.any() and _surrounds(found, place, others):
            kept = others
    inside = kept & ~found.at_edge
    if found.weights[inside].sum() > 0.15 * found.weights[kept].sum():
        kept = inside
    return kept


def _surrounds(found: Components, place: int, others: Mask) -> bool:
    """Whether a part is a frame: it keeps to the edges of its box, and another of some size lies inside."""
    top, bottom, left, right = (int(side[place]) for side in (found.tops, found.bottoms, found.lefts, found.rights))
    height, width = bottom - top + 1, right - left + 1
    within = others & (found.tops > top) & (found.bottoms < bottom) & (found.lefts > left) & (found.rights < right)
    tall = (found.bottoms - found.tops)[within]
    if not tall.size or tall.max() < 0.2 * height:
        return False
    part = found.labels[top : bottom + 1, left : right + 1] == place
    down, across = max(1, round(_FRAME_BAND * height)), max(1, round(_FRAME_BAND * width))
    return int(part[down:-down, across:-across].sum()) < (1 - _FRAME_SHARE) * int(part.sum())
