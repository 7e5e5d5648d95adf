"""Conversion of Pillow images to gray values, by mode: Pillow's own clips 16 bits to 8 and drops transparency.

Importing this module does not import Pillow.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


_LONGEST = 640
"""Images whose longer side is at least twice this are reduced: a digit needs no more pixels, and it is faster."""
FEW_PIXELS = 102_400
"""Images with at most this many pixels are not reduced, since that would save no time."""
_HALVED = 280
"""JPEGs whose shorter side is at least this are decoded at half their size or less."""


MAX_PIXELS, MAX_SIDE = 4_000_000, 4096
"""Larger images are refused before decoding: a few bytes can decode to gigabytes."""


def check_size(width: int, height: int) -> None:
    """Raise DataError for an image that is too large to decode."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DataError(
            f"the image has {width:,}×{height:,} pixels; at most {MAX_PIXELS:,} are read, and {MAX_SIDE:,} a side: "
            "make it smaller"
        )


def jpeg_reduction(width: int, height: int) -> int:
    """Return the factor by which a JPEG is reduced while decoding: 1, 2, 4 or 8."""
    shorter = min(width, height)
    if shorter < 2 * _LONGEST:
        return 2 if shorter >= _HALVED else 1
    return min(8, 1 << (shorter // _LONGEST).bit_length() - 1)


def to_gray(image: "Image.Image") -> NDArray[np.uint8]:
    """Convert an opened image to gray, uint8 (height, width), upright and with transparency resolved.

    Raises whatever Pillow's decoders raise for damaged files, which is many types.
    """
    from PIL import ImageOps

    times = jpeg_reduction(*image.size)
    image.draft("L", (image.width // times, image.height // times))  # JPEGs are decoded as gray and reduced
    image.load()
    if image.getexif():
        image = ImageOps.exif_transpose(image)
    is_large = max(image.size) >= 2 * _LONGEST and image.width * image.height > FEW_PIXELS
    if is_large and image.mode in ("L", "RGB", "RGBA", "LA", "CMYK"):
        image = image.reduce(max(image.size) // _LONGEST)
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
    """Composite a transparent image over a background.

    A mostly opaque image brings its background, which also fills what is cut out of it, such as round corners. A mostly
    transparent one is ink alone: if it has one colour, its opacity is the ink; otherwise the background is the colour
    that its edges fade to, or else one that contrasts with it.
    """
    gray = np.asarray(image.convert("RGB").convert("L")).astype(np.float32)
    alpha = np.asarray(image.getchannel("A"))
    seen = alpha > 0
    shades = gray[seen]
    one_shade = not shades.size or shades.max() - shades.min() < _ONE_SHADE
    if alpha.sum(dtype=np.int64) > 255 / 2 * alpha.size and not (one_shade and _is_varied(alpha)):
        background = float(np.median(gray[alpha > 127]))
    elif one_shade:
        return alpha if shades.size and shades.mean() >= 128 else 255 - alpha
    else:
        background = _background_for(gray, alpha)
    opacity = alpha.astype(np.float32) / 255
    return np.rint(gray * opacity + background * (1 - opacity)).astype(np.uint8)


_ONE_SHADE = 16
"""Gray values that differ by less count as equal, as in the test for blank images."""


def _is_varied(alpha: NDArray[np.uint8]) -> bool:
    return int(alpha.max()) - int(alpha.min()) >= _ONE_SHADE


def _background_for(gray: NDArray[np.float32], alpha: NDArray[np.uint8]) -> float:
    solid = np.pad(alpha > 127, 1)
    inner = solid[1:-1, 1:-1] & solid[:-2, 1:-1] & solid[2:, 1:-1] & solid[1:-1, :-2] & solid[1:-1, 2:]
    edges = solid[1:-1, 1:-1] & ~inner
    if inner.any() and edges.any():
        fading = float(gray[edges].mean()) - float(gray[inner].mean())
        if abs(fading) > _FADING:
            return 0.0 if fading < 0 else 255.0
    return 0.0 if float((gray * alpha).sum()) >= 128 * float(alpha.sum()) else 255.0


_FADING = 48
