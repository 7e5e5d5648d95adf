"""Preprocessing: from any gray image of a glyph to a 28×28 glyph in MNIST's form. Training and serving share it.

A 28×28 image that is in MNIST's form already passes unchanged. Anything else is converted as described on LeCun's
page: the ink is scaled into a 20×20 box, keeping its aspect ratio, and the box is placed in 28×28 by its centre of
mass. An MNIST image that was inverted, padded, moved or enlarged by whole pixels comes back as it was.
"""

import hashlib
import json

import numpy as np

from training.errors import DataError
from training.types import Floats, Pixels
from training.vision.borders import border
from training.vision.foreground import extract_foreground
from training.vision.input_spec import IMAGE_SIZE, InputSpec
from training.vision.resize import resize

BOX_SIZE = 20
VERSION = 2
"""Incremented when `normalize_glyph` returns anything else for any image; part of `preprocessing_id`."""
_COMPATIBLE = (1, VERSION)
"""Versions whose networks may be used: all of them pass images in MNIST's form unchanged."""


def preprocessing_id(form: InputSpec | None = None, version: int = VERSION) -> str:
    """Return an identifier of this preprocessing, 12 hex digits, derived from its version and the input spec."""
    described = {"version": version, "side": IMAGE_SIZE, "box": BOX_SIZE, "form": (form or InputSpec()).to_dict()}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def is_compatible(name: object, form: InputSpec) -> bool:
    """Whether a network that was trained with the preprocessing of this id works with `normalize_glyph`."""
    return name in {preprocessing_id(form, version) for version in _COMPATIBLE}


def normalize_glyph(gray: np.ndarray) -> Pixels:
    """Convert a gray image (height, width), uint8, of any size and polarity to MNIST's form: uint8 (28, 28).

    Raises DataError for a blank or empty image.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise DataError(f"expected a gray image (height, width) of uint8, got {gray.dtype} {gray.shape}")
    if gray.shape == (IMAGE_SIZE, IMAGE_SIZE):
        if is_mnist_like(gray):
            return gray
        if gray[0, 0] > 127 and is_mnist_like(inverted := 255 - gray):
            return inverted
    return _centred(_fitted(extract_foreground(gray)))


def is_mnist_like(gray: Pixels) -> bool:
    """Whether a 28×28 image is in MNIST's form, or from a data set whose glyphs span the image."""
    return any(_fills_the_box(gray, faintest) for faintest in _FAINTEST) or _spans(gray)


def _spans(gray: Pixels) -> bool:
    """Whether light ink on black touches two opposite edges, as in Fashion-MNIST and Kuzushiji-MNIST."""
    visible = gray >= _FAINTEST[1]
    across = (visible[0].any() and visible[-1].any()) or (visible[:, 0].any() and visible[:, -1].any())
    return bool(across) and float(np.median(border(gray))) == 0


def _fills_the_box(gray: Pixels, faintest: int) -> bool:
    """Whether the longer side of the ink is that of the box, or slightly less, and its centre of mass is central."""
    ink = gray.astype(np.float32)
    if faintest > 1:
        ink[gray < faintest] = 0
    longest = 0
    for profile in (ink @ _ONES, _ONES @ ink):
        inked = profile.nonzero()[0]
        if not len(inked):
            return False
        total, moment = (profile @ _MOMENTS).tolist()
        if abs(moment - IMAGE_SIZE / 2 * total) >= total:
            return False
        longest = max(longest, int(inked[-1] - inked[0]) + 1)
    return BOX_SIZE - 2 <= longest <= BOX_SIZE


_FAINTEST = (1, 26, 64)
"""Minimum intensities of ink; the larger ones ignore compression artifacts."""
_ONES = np.ones(IMAGE_SIZE, np.float32)
_MOMENTS = np.stack([_ONES, np.arange(IMAGE_SIZE, dtype=np.float32)], axis=1)


def _fitted(ink: Floats) -> Floats:
    """Resize so that the longer side is 20 pixels; 19 pixels are left as they are."""
    height, width = ink.shape
    longest = max(height, width)
    if longest in (BOX_SIZE - 1, BOX_SIZE):
        return ink
    scale = BOX_SIZE / longest
    return resize(ink, max(1, round(height * scale)), max(1, round(width * scale)))


def _centred(ink: Floats) -> Pixels:
    """Place the box in 28×28 with its centre of mass as close as possible to pixel (14, 14), as in MNIST."""
    height, width = ink.shape
    total, row = (np.add.reduce(ink, axis=1) @ _MOMENTS[:height]).tolist()
    column = float(np.add.reduce(ink, axis=0) @ _MOMENTS[:width, 1])
    top = min(max(round(IMAGE_SIZE / 2 - row / total), 0), IMAGE_SIZE - height)
    left = min(max(round(IMAGE_SIZE / 2 - column / total), 0), IMAGE_SIZE - width)
    glyph = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    glyph[top : top + height, left : left + width] = np.rint(ink)  # ink is between 0 and 255
    return glyph
