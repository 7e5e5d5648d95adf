"""From the bytes of an image to a glyph: an allow-list of formats, caps before decoding, conversion by mode."""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import BlankImage, InvalidImage, PayloadTooLarge, UnsupportedMediaType
from training.arrays import Pixels
from training.errors import DataError
from training.preprocess import to_glyph

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")

Image.MAX_IMAGE_PIXELS = None  # our own caps are lower, and raise our own error


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_bytes: int
    max_pixels: int
    max_side: int


def read_glyph(content: bytes, limits: ImageLimits) -> Pixels:
    """Turn an encoded image into a glyph, uint8 (28, 28).

    Raises PayloadTooLarge, UnsupportedMediaType, InvalidImage or BlankImage.
    """
    try:
        return to_glyph(decode(content, limits))
    except DataError as error:
        raise BlankImage(str(error)) from None


def decode(content: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode an image to gray, uint8 (height, width), upright and over a background where it is transparent."""
    if not content:
        raise InvalidImage("the image is empty")
    if len(content) > limits.max_bytes:
        raise PayloadTooLarge(f"the image has {len(content):,} bytes; at most {limits.max_bytes:,} are taken")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        if content.startswith(_SIGNATURES):
            raise _undecodable(error) from error
        raise UnsupportedMediaType(f"this is no image of the kinds {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders raise a dozen types for damaged headers
        raise _undecodable(error) from error
    if max(image.size) > limits.max_side or image.width * image.height > limits.max_pixels:
        raise PayloadTooLarge(
            f"the image is {image.width}×{image.height}; at most {limits.max_pixels:,} pixels are taken, "
            f"and {limits.max_side} a side"
        )
    try:
        if getattr(image, "is_animated", False):
            raise InvalidImage("the image is animated; send one frame")
        image.load()
        if image.getexif():
            image = ImageOps.exif_transpose(image)
        return _gray(image)
    except InvalidImage:
        raise
    except Exception as error:  # as above: SyntaxError, struct.error, OSError, ValueError, …
        raise _undecodable(error) from error


def _undecodable(error: Exception) -> InvalidImage:
    truncated = isinstance(error, OSError | EOFError | struct.error) and "truncated" in str(error)
    return InvalidImage("the image is truncated" if truncated else "the image is damaged and cannot be decoded")


def _gray(image: Image.Image) -> NDArray[np.uint8]:
    """Convert by mode: Pillow's own conversion clips 16 bits to 255 and drops transparency."""
    if image.mode == "L" and "transparency" not in image.info:
        return _array(image)
    if image.mode.startswith("I"):
        return _clipped(np.asarray(image, dtype=np.int64) >> 8)
    if image.mode == "F":
        return _clipped(np.nan_to_num(np.asarray(image)))
    if image.has_transparency_data:
        return _over_background(image.convert("RGBA"))
    return _array(image.convert("L"))


def _clipped(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)


def _over_background(image: Image.Image) -> NDArray[np.uint8]:
    """Put a transparent image over white where its ink is dark, over black where it is light."""
    gray = np.asarray(image.convert("RGB").convert("L")).astype(np.float32)
    alpha = np.asarray(image.getchannel("A")).astype(np.float32) / 255
    opaque = float(alpha.sum())
    dark_ink = opaque > 0 and float((gray * alpha).sum()) / opaque < 128
    background = 255.0 if dark_ink and opaque < alpha.size else 0.0
    return np.rint(gray * alpha + background * (1 - alpha)).astype(np.uint8)
