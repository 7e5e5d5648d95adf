"""From any gray picture of a glyph to the numbers that a network was trained on.

Training and serving both come through here, so that they cannot drift apart. A 28×28 picture with a dark border is
taken to be in MNIST's form already and passes bit for bit; everything else is brought into that form the way LeCun's
page describes it: ink fitted into a 20×20 box with its aspect kept, the box placed in 28×28 by its centre of mass.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Pixels
from training.errors import DataError

SIDE = 28
BOX = 20
VERSION = 1
"""Counts changes of what `to_glyph` answers for any picture; part of every model's fingerprint."""

_INK_THRESHOLD = 0.06  # of the picture's contrast; keeps JPEG noise and paper texture out of the ink's box


@dataclass(frozen=True)
class InputForm:
    """What a network wants to be fed: the centre `side`×`side` pixels, scaled from 0 … 255 to `low` … `high`."""

    side: int = SIDE
    low: float = 0.0
    high: float = 1.0

    def features(self, glyphs: Pixels) -> Floats:
        """Turn glyphs (n, 28, 28) into rows of float32, shape (n, side²)."""
        if glyphs.ndim != 3 or glyphs.shape[1:] != (SIDE, SIDE):
            raise DataError(f"expected glyphs of shape (n, {SIDE}, {SIDE}), got {glyphs.shape}")
        edge = (SIDE - self.side) // 2
        centre = glyphs[:, edge : edge + self.side, edge : edge + self.side].reshape(len(glyphs), self.side**2)
        features = centre.astype(np.float32)
        features *= (self.high - self.low) / 255
        if self.low:
            features += self.low
        return features


def fingerprint(form: InputForm | None = None) -> str:
    """Name this preprocessing: 12 hex digits that change when its code version or the input form does."""
    described = {"version": VERSION, "side": SIDE, "box": BOX, "form": asdict(form or InputForm())}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def to_glyph(gray: np.ndarray) -> Pixels:
    """Bring one gray picture (height, width), uint8, of any size and polarity into MNIST's form: uint8 (28, 28).

    Raises DataError when there is nothing to see: a picture of one shade, or of no pixels.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise DataError(f"expected a gray picture (height, width) of uint8, got {gray.dtype} {gray.shape}")
    ink_on_dark = bool(np.median(_border(gray)) < 128)
    if gray.shape == (SIDE, SIDE) and ink_on_dark:
        return gray
    ink = gray if ink_on_dark else 255 - gray
    return _centred(_fitted(_cropped(ink.astype(np.float32))))


def _border(gray: np.ndarray) -> np.ndarray:
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])


def _cropped(ink: Floats) -> Floats:
    """Stretch to the full range and cut to the box around the ink."""
    paper, darkest = float(np.median(_border(ink))), float(ink.max())
    if darkest - paper < 16:
        raise DataError("the picture is blank: nothing on it differs from its background")
    ink = np.clip((ink - paper) * (255 / (darkest - paper)), 0, 255)
    visible = ink > _INK_THRESHOLD * 255
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fitted(ink: Floats) -> Floats:
    """Resize so that the longer side is 20 pixels."""
    height, width = ink.shape
    scale = BOX / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    resized: Floats = _averaging(height, rows) @ ink @ _averaging(width, columns).T
    return resized


def _averaging(before: int, after: int) -> NDArray[np.float32]:
    """Make the matrix (after, before) that averages over each new pixel's area: the area filter along one axis.

    When enlarging, the old pixels are spread linearly instead, so that strokes do not become staircases.
    """
    if after <= before:
        edges = np.linspace(0, before, after + 1)
        low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
        cells = np.arange(before)
        overlap = np.minimum(high, cells + 1) - np.maximum(low, cells)
        weights = np.clip(overlap, 0, None)
    else:
        centres = (np.arange(after) + 0.5) * before / after - 0.5
        distance = np.abs(np.clip(centres, 0, before - 1)[:, np.newaxis] - np.arange(before))
        weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _centred(ink: Floats) -> Pixels:
    """Place the box in 28×28 so that its centre of mass is as near as can be to pixel (14, 14), as all of MNIST is."""
    height, width = ink.shape
    total = float(ink.sum())
    row = float(ink.sum(axis=1) @ np.arange(height)) / total
    column = float(ink.sum(axis=0) @ np.arange(width)) / total
    top = min(max(round(SIDE / 2 - row), 0), SIDE - height)
    left = min(max(round(SIDE / 2 - column), 0), SIDE - width)
    glyph = np.zeros((SIDE, SIDE), dtype=np.uint8)
    glyph[top : top + height, left : left + width] = np.rint(np.clip(ink, 0, 255)).astype(np.uint8)
    return glyph
