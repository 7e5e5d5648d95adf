"""Preprocessing on the fast path: from the bodies of requests to glyphs, for small images, on the event loop.

A 28×28 image that is in MNIST's form already needs no preprocessing. `fills_box` and `already_centred` test for that
form as `training.vision.glyph` does, but faster and for many images at once; a test compares the two.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from service.errors import ServiceError
from service.inference.images import QUICK_BYTES, ImageLimits, open_image
from service.server.fast_decode import CoreImage, decode_fast_jpeg, decode_fast_png, pixel_bytes, to_array
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import BOX_SIZE, normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

FORM = b"multipart/form-data; boundary="
"""The start of the content type of a form, as all common clients write it."""

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_ROWS, _COLUMNS = np.divmod(np.arange(IMAGE_SIZE * IMAGE_SIZE, dtype=np.float32), IMAGE_SIZE)
_MOMENTS = np.stack([np.ones_like(_ROWS), _ROWS - IMAGE_SIZE / 2, _COLUMNS - IMAGE_SIZE / 2], axis=1)

_MAX_PIXELS = 102_400
_FILE = re.compile(
    rb'--([A-Za-z0-9_-]+)\r\n[Cc]ontent-[Dd]isposition: form-data; name="file"; filename="[^"\\\r\n]+"'
    rb"(?:\r\n[Cc]ontent-[Tt]ype: [^\r\n]*)?\r\n\r\n"
)


class GlyphReader:
    """Converts request bodies to glyphs."""

    def __init__(self, limits: ImageLimits) -> None:
        """Images above these limits, and all large images, are left to the application."""
        self._limits = limits
        self._max_pixels = min(_MAX_PIXELS, limits.max_pixels)

    def read(self, contents: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        """Convert (content type, body) pairs to glyphs of 784 bytes; None where the application must respond."""
        glyphs: list[bytes | None] = [None] * len(contents)
        boxed: dict[int, bytes] = {}
        for index, (content_type, body) in enumerate(contents):
            content = extract_image(content_type, body)
            if not content or len(content) > self._limits.max_bytes:
                continue
            limits = self._max_pixels, self._limits.max_side
            gray = decode_fast_png(content, *limits) or decode_fast_jpeg(content, *limits)
            if gray and fills_box(gray):
                boxed[index] = pixel_bytes(gray)
            else:
                glyphs[index] = self._preprocess(content, gray)
        centred = already_centred(boxed)
        for index, pixels in boxed.items():
            glyphs[index] = centred.get(index) or _to_glyph(
                np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)
            )
        return glyphs

    def _preprocess(self, content: bytes, gray: CoreImage | None) -> bytes | None:
        """Convert an image that is not in MNIST's form. `gray` is the decoded image if a fast decoder accepted it."""
        if gray:
            return _to_glyph(to_array(gray))
        if len(content) > QUICK_BYTES:
            return None
        try:
            image = open_image(content, self._limits)
            return image.to_glyph().tobytes() if image.pixels <= self._max_pixels else None
        except ServiceError:
            return None


def _to_glyph(gray: Pixels) -> bytes | None:
    try:
        return normalize_glyph(gray).tobytes()
    except DataError:
        return None


def extract_image(content_type: bytes, body: bytes) -> bytes | None:
    """Return the image: the body, or the only file of a simple form; None for any other form."""
    if not content_type.startswith(FORM):
        return body
    opening = _FILE.match(body)
    if opening is None or content_type[len(FORM) :] != opening[1]:
        return None
    start, delimiter = opening.end(), b"\r\n--" + opening[1]
    end = body.find(delimiter, start)
    return body[start:end] if body[end + len(delimiter) :] in (b"--\r\n", b"--") else None


def fills_box(gray: CoreImage) -> bool:
    """Return whether the ink of a 28×28 image is as long as MNIST's box, or up to two pixels shorter."""
    if gray.size != _SIZE or (box := gray.getbbox()) is None:
        return False
    left, top, right, bottom = box
    longest: int = max(right - left, bottom - top)
    return BOX_SIZE - 2 <= longest <= BOX_SIZE


def already_centred(glyphs: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return those of the images (784 pixels each, by index) whose centre of mass is in the middle."""
    if not glyphs:
        return {}
    ink = np.frombuffer(b"".join(glyphs.values()), np.uint8).reshape(-1, IMAGE_SIZE * IMAGE_SIZE).astype(np.float32)
    sums = ink.dot(_MOMENTS).tolist()  # integers below 2²⁴, so exact in any order of summation
    return {
        index: pixels
        for (index, pixels), (total, down, across) in zip(glyphs.items(), sums, strict=True)
        if -total < down < total and -total < across < total
    }
