"""From a picture as Pillow opens it to gray values.

It goes by the picture's mode: Pillow's own conversion clips 16 bits to 8 and drops transparency. Importing this room
does not import Pillow; whoever opens pictures has done that.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image


def to_gray(image: "Image.Image") -> NDArray[np.uint8]:
    """Convert an opened picture to gray, uint8 (height, width): upright, and over a background where transparent.

    Raises whatever Pillow's decoders raise for damaged files, which is a dozen types.
    """
    from PIL import ImageOps

    image.load()
    if image.getexif():
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return _clipped(np.asarray(image, dtype=np.int64) >> 8)
    if image.mode == "F":
        return _clipped(np.nan_to_num(np.asarray(image)))
    if image.has_transparency_data:
        return _over_background(image.convert("RGBA"))
    return np.array(image if image.mode == "L" else image.convert("L"), dtype=np.uint8)


def _clipped(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _over_background(image: "Image.Image") -> NDArray[np.uint8]:
    """Put a transparent image over what lies behind it.

    An image that is mostly transparent is ink alone: it goes on paper that contrasts with it. One that is mostly
    opaque has its own paper, and what is cut out of it, such as round corners, is filled with that.
    """
    gray = np.asarray(image.convert("RGB").convert("L")).astype(np.float32)
    alpha = np.asarray(image.getchannel("A")).astype(np.float32) / 255
    opaque = float(alpha.sum())
    if opaque > alpha.size / 2:
        background = float(np.median(gray[alpha > 0.5]))
    else:
        background = 0.0 if float((gray * alpha).sum()) >= 128 * opaque else 255.0
    return np.rint(gray * alpha + background * (1 - alpha)).astype(np.uint8)
