"""From encoded images to glyphs: an allow-list of formats, limits checked before decoding, conversion to grayscale."""

import base64
import binascii
import io
import re
import string
import struct
from dataclasses import dataclass

import numpy as np
import numpy.ma
from numpy.typing import NDArray
from PIL import Image, ImageOps, MpoImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from service.errors import BlankImage, InvalidImage, PayloadTooLarge, UnsupportedMediaType
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import normalize_glyph
from training.vision.image_io import to_gray
from training.vision.image_segments import check_segments

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")

# Imported here because Pillow would import its plugins, and NumPy its masked arrays (for a median), on the event loop
# when the first image of a format is read. The TIFF plugin reads Exif data.
Image.preinit()
_IMPORTED = (numpy.ma, ImageOps, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")

Image.MAX_IMAGE_PIXELS = None  # the limits of this module are lower and raise its own errors

QUICK_BYTES = 16 * 1024
"""Images of at most this size together are opened on the event loop. Opening larger files may take long."""

_DATA_URL = re.compile(rb"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n\f"
_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class ImageLimits:
    """Limits that are checked before an image is decoded."""

    max_bytes: int
    max_pixels: int
    max_side: int


@dataclass(frozen=True)
class LazyImage:
    """An image whose header was read and accepted. The pixels are not decoded yet."""

    image: Image.Image

    @property
    def pixels(self) -> int:
        """The number of pixels to decode."""
        return self.image.width * self.image.height

    def to_glyph(self) -> Pixels:
        """Decode and preprocess to MNIST's form, uint8 (28, 28). Raises InvalidImage or BlankImage."""
        try:
            return normalize_glyph(self.to_grayscale())
        except DataError as error:
            raise BlankImage(str(error)) from None

    def to_grayscale(self) -> NDArray[np.uint8]:
        """Decode to grayscale, uint8 (height, width), upright, with transparent areas on a background.

        This closes the image, so that many images need the memory of one. Call it once.
        """
        image = self.image
        try:
            if image.format != "MPO" and getattr(image, "is_animated", False):  # MPO: phones add a preview image
                raise InvalidImage("the image is animated; send one frame")
            return to_gray(image)
        except InvalidImage:
            raise
        except Exception as error:  # SyntaxError, struct.error, OSError, ValueError, …
            raise _cannot_decode(error) from error
        finally:
            self.image.close()


def decode_glyph(content: bytes, limits: ImageLimits) -> Pixels:
    """Convert an encoded image to a glyph, uint8 (28, 28). Raises the errors of `open_image` and `to_glyph`."""
    return open_image(content, limits).to_glyph()


def open_image(content: bytes, limits: ImageLimits) -> LazyImage:
    """Read the header of an image, which may be as long as the file.

    Raises PayloadTooLarge, UnsupportedMediaType or InvalidImage.
    """
    if not content:
        raise InvalidImage("the image is empty")
    if len(content) > limits.max_bytes:
        raise PayloadTooLarge(f"the image has {len(content):,} bytes; the limit is {limits.max_bytes:,}")
    try:
        check_segments(content)
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        if content.startswith(_SIGNATURES):
            raise _cannot_decode(error) from error
        raise UnsupportedMediaType(f"unsupported image format; use {', '.join(FORMATS)}") from None
    except DataError as error:
        raise InvalidImage(str(error)) from None
    except Exception as error:  # decoders raise a dozen exception types for damaged headers
        raise _cannot_decode(error) from error
    if max(image.size) > limits.max_side or image.width * image.height > limits.max_pixels:
        raise PayloadTooLarge(
            f"the image is {image.width}×{image.height}; the limits are {limits.max_pixels:,} pixels and "
            f"{limits.max_side} per side"
        )
    return LazyImage(image)


def _cannot_decode(error: Exception) -> InvalidImage:
    is_truncated = isinstance(error, OSError | EOFError | struct.error) and "truncated" in str(error)
    return InvalidImage("the image is truncated" if is_truncated else "the image is damaged and cannot be decoded")


def decode_base64(text: str | bytes) -> bytes:
    """Decode base64 text (RFC 4648), in the standard or the URL-safe alphabet.

    A prefix `data:…;base64,` (RFC 2397, as `canvas.toDataURL` writes it) and whitespace are ignored; padding is
    optional. Raises ValueError with a message for the caller.
    """
    try:
        content = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise ValueError("is not base64 text: it has characters beyond ASCII") from None
    if prefix := _DATA_URL.match(content):
        content = content[prefix.end() :]
    elif content.lstrip()[:5].lower() == b"data:":
        raise ValueError("is a data: URL that is not in base64; it must begin with data:…;base64,")
    content = content.translate(_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
    try:
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error:
        reason = "it has invalid characters" if content.translate(None, _ALPHABET) else "it is truncated"
        raise ValueError(f"is not base64 text: {reason}") from None
