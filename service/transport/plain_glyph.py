"""The glyph that is worth a shortcut: 28×28 gray values in MNIST's form, which `normalize_glyph` passes as they are.

What is asked here is what `training.vision.glyph` asks, in less time and of many pictures at once, and no other form is
known: a test holds the two together.
"""

from collections.abc import Mapping

import numpy as np

from service.transport.gray import Gray
from training.vision.glyph import BOX_SIZE
from training.vision.input_spec import IMAGE_SIZE

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_ROWS, _COLUMNS = np.divmod(np.arange(IMAGE_SIZE * IMAGE_SIZE, dtype=np.float32), IMAGE_SIZE)
_MOMENTS = np.stack([np.ones_like(_ROWS), _ROWS - IMAGE_SIZE / 2, _COLUMNS - IMAGE_SIZE / 2], axis=1)


def fits_the_box(gray: Gray) -> bool:
    """Tell whether the ink of a picture of 28×28 is as long as the box, or a little less."""
    if gray.size != _SIZE or (box := gray.getbbox()) is None:
        return False
    left, top, right, bottom = box
    longest: int = max(right - left, bottom - top)
    return BOX_SIZE - 2 <= longest <= BOX_SIZE


def centred(glyphs: Mapping[int, bytes]) -> dict[int, bytes]:
    """Pick out the pictures, by number and of 784 gray values each, whose centre of mass is in the middle."""
    if not glyphs:
        return {}
    ink = np.frombuffer(b"".join(glyphs.values()), np.uint8).reshape(-1, IMAGE_SIZE * IMAGE_SIZE).astype(np.float32)
    sums = ink.dot(_MOMENTS).tolist()  # whole numbers below 2²⁴: exact in any order
    return {
        number: pixels
        for (number, pixels), (total, down, across) in zip(glyphs.items(), sums, strict=True)
        if -total < down < total and -total < across < total
    }
