"""From the bytes of an image to a glyph: an allow-list of formats, caps before decoding, conversion by mode."""

import io
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

# Imported here, since Pillow would import its plugins, and NumPy its masked arrays (for a median), when the first image
# of a kind is read: on the event loop. The TIFF plugin reads EXIF data.
Image.preinit()
_IMPORTED = (numpy.ma, ImageOps, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")

Image.MAX_IMAGE_PIXELS = None  # our own caps are lower, and raise our own error


QUICK_BYTES = 16 * 1024
"""Images of so many bytes together are opened on the event loop: more can take long, whatever they show."""


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_bytes: int
    max_pixels: int
    max_side: int


@dataclass(frozen=True)
class Picture:
    """An image whose header was read and found acceptable; nothing is decoded yet."""

    image: Image.Image

    @property
    def pixels(self) -> int:
        """How much there is to decode."""
        return self.image.width * self.image.height

    def glyph(self) -> Pixels:
        """Decode it and bring it into MNIST's form, uint8 (28, 28). Raises InvalidImage or BlankImage."""
        try:
            return normalize_glyph(self.gray())
        except DataError as error:
            raise BlankImage(str(error)) from None

    def gray(self) -> NDArray[np.uint8]:
        """Decode it to gray, uint8 (height, width), upright and over a background where it is transparent.

        It lets go of what it decoded, so that many pictures take the memory of one; call it once.
        """
        image = self.image
        try:
            if image.format != "MPO" and getattr(image, "is_animated", False):  # phones write a preview into MPO
                raise InvalidImage("the image is animated; send one frame")
            return to_gray(image)
        except InvalidImage:
            raise
        except Exception as error:  # SyntaxError, struct.error, OSError, ValueError, …
            raise _undecodable(error) from error
        finally:
            self.image.close()


def read_glyph(content: bytes, limits: ImageLimits) -> Pixels:
    """Turn an encoded image into a glyph, uint8 (28, 28). Raises what `open_picture` and `Picture.glyph` raise."""
    return open_picture(content, limits).glyph()


def open_picture(content: bytes, limits: ImageLimits) -> Picture:
    """Read an image's header: what stands before its data, which may be as long as the file.

    Raises PayloadTooLarge, UnsupportedMediaType or InvalidImage.
    """
    if not content:
        raise InvalidImage("the image is empty")
    if len(content) > limits.max_bytes:
        raise PayloadTooLarge(f"the image has {len(content):,} bytes; at most {limits.max_bytes:,} are taken")
    try:
        check_segments(content)
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        if content.startswith(_SIGNATURES):
            raise _undecodable(error) from error
        raise UnsupportedMediaType(f"this is no image of the kinds {', '.join(FORMATS)}") from None
    except DataError as error:
        raise InvalidImage(str(error)) from None
    except Exception as error:  # decoders raise a dozen types for damaged headers
        raise _undecodable(error) from error
    if max(image.size) > limits.max_side or image.width * image.height > limits.max_pixels:
        raise PayloadTooLarge(
            f"the image is {image.width}×{image.height}; at most {limits.max_pixels:,} pixels are taken, "
            f"and {limits.max_side} a side"
        )
    return Picture(image)


def _undecodable(error: Exception) -> InvalidImage:
    truncated = isinstance(error, OSError | EOFError | struct.error) and "truncated" in str(error)
    return InvalidImage("the image is truncated" if truncated else "the image is damaged and cannot be decoded")
