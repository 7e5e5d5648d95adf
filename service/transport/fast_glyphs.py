"""From the bodies of requests to glyphs, for the fast path: small pictures, read on the event loop's thread."""

import re
from collections.abc import Sequence

import numpy as np

from service.errors import ServiceError
from service.images import QUICK_BYTES, ImageLimits, open_picture
from service.transport.gray import Gray, array_of, pixels_of
from service.transport.plain_glyph import centred, fits_the_box
from service.transport.plain_jpeg import read_plain_jpeg
from service.transport.plain_png import read_plain_png
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

FORM = b"multipart/form-data; boundary="
"""What the content type of a form begins with, as every client writes it."""

_MOST_PIXELS = 102_400
_FILE = re.compile(
    rb'--([A-Za-z0-9_-]+)\r\n[Cc]ontent-[Dd]isposition: form-data; name="file"; filename="[^"\\\r\n]+"'
    rb"(?:\r\n[Cc]ontent-[Tt]ype: [^\r\n]*)?\r\n\r\n"
)


class GlyphReader:
    """Reads what is small enough for the event loop's thread."""

    def __init__(self, limits: ImageLimits) -> None:
        """Read pictures within these limits, and no large ones."""
        self._limits = limits
        self._most_pixels = min(_MOST_PIXELS, limits.max_pixels)

    def read(self, contents: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        """Read pictures, given as content type and body, to 784 bytes each; None for those that are no plain case."""
        glyphs: list[bytes | None] = [None] * len(contents)
        fitting: dict[int, bytes] = {}
        for place, (kind, body) in enumerate(contents):
            content = image_of(kind, body)
            if not content or len(content) > self._limits.max_bytes:
                continue
            most = self._most_pixels, self._limits.max_side
            gray = read_plain_png(content, *most) or read_plain_jpeg(content, *most)
            if gray and fits_the_box(gray):
                fitting[place] = pixels_of(gray)
            else:
                glyphs[place] = self._brought_into_form(content, gray)
        passing = centred(fitting)
        for place, pixels in fitting.items():
            glyphs[place] = passing.get(place) or _glyph_of(
                np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)
            )
        return glyphs

    def _brought_into_form(self, content: bytes, gray: Gray | None) -> bytes | None:
        """Read a picture of another form; `gray` has its gray values if it is of one of the two plain kinds."""
        if gray:
            return _glyph_of(array_of(gray))
        if len(content) > QUICK_BYTES:
            return None
        try:
            picture = open_picture(content, self._limits)
            return picture.glyph().tobytes() if picture.pixels <= self._most_pixels else None
        except ServiceError:
            return None


def _glyph_of(gray: Pixels) -> bytes | None:
    try:
        return normalize_glyph(gray).tobytes()
    except DataError:
        return None


def image_of(content_type: bytes, body: bytes) -> bytes | None:
    """Find the image: the body itself, or the only file of a form as every client writes it; None for other forms."""
    if not content_type.startswith(FORM):
        return body
    opening = _FILE.match(body)
    if opening is None or content_type[len(FORM) :] != opening[1]:
        return None
    start, delimiter = opening.end(), b"\r\n--" + opening[1]
    end = body.find(delimiter, start)
    return body[start:end] if body[end + len(delimiter) :] in (b"--\r\n", b"--") else None
