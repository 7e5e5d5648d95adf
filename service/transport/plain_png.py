"""The picture that is worth a shortcut: a PNG of 8-bit gray, not interlaced, all its data in one chunk.

That is how MNIST's digits are stored by most who store them. Pillow's own decoder is used, without the reading of
chunks around it, which takes five times as long as the decoding. Whatever is not exactly this is left to `images`.
"""

import struct
import zlib
from typing import Any

import numpy as np
from PIL import _imaging as codecs

from training.arrays import Pixels
from training.preprocess import BOX, SIDE

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_SIZE = struct.Struct(">II")
_GRAY = b"\x08\x00\x00\x00\x00"  # bit depth 8, gray, no interlacing
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_HEADER = 12  # the header's kind begins here, and is a part of what its checksum is of
_CHUNK = len(_START) + 17
_DATA = _CHUNK + 8
_AFTER_DATA = 4 + len(_END)
_KIND_CRC = zlib.crc32(b"IDAT")
_DONE = (-1, 0)
_EMPTY = bytes(SIDE)
_ROWS, _COLUMNS = np.divmod(np.arange(SIDE * SIDE, dtype=np.float32), SIDE)
_MOMENTS = np.stack([np.ones_like(_ROWS), _ROWS, _COLUMNS])


def read_plain_png(content: bytes, most_pixels: int) -> Pixels | None:
    """Decode such a picture to its gray values, uint8 (height, width); None for any other, and for a damaged one."""
    if (
        not content.startswith(_START)
        or content[_CHUNK - 9 : _CHUNK - 4] != _GRAY
        or content[_CHUNK + 4 : _DATA] != b"IDAT"
        or not content.endswith(_END)
        or zlib.crc32(content[_HEADER : _CHUNK - 4]) != int.from_bytes(content[_CHUNK - 4 : _CHUNK], "big")
    ):
        return None
    length = int.from_bytes(content[_CHUNK : _CHUNK + 4], "big")
    if _DATA + length + _AFTER_DATA != len(content):
        return None
    data = content[_DATA : _DATA + length]
    if zlib.crc32(data, _KIND_CRC) != int.from_bytes(content[_DATA + length : _DATA + length + 4], "big"):
        return None
    width, height = _SIZE.unpack_from(content, len(_START))
    if not 0 < width * height <= most_pixels:
        return None
    return decoded(codecs.zip_decoder("L", "L", 0), data, width, height)


def decoded(decoder: Any, data: bytes, width: int, height: int) -> Pixels | None:
    """Let one of Pillow's decoders read gray values, uint8 (height, width); None when the data are no good."""
    image, box = codecs.new("L", (width, height)), (0, 0, width, height)
    decoder.setimage(image, box)
    if decoder.decode(data) != _DONE:
        return None
    encoder = codecs.raw_encoder("L", "L", 0, 1)
    encoder.setimage(image, box)
    return np.frombuffer(encoder.encode(width * height)[2], np.uint8).reshape(height, width)


def is_plain_glyph(pixels: bytes) -> bool:
    """Tell whether 784 gray values are in MNIST's form: `to_glyph` then passes them as they are.

    It asks what `training.preprocess` asks, in less time, and knows no other form: a test holds them together.
    """
    above, below = len(pixels) - len(pixels.lstrip(b"\0")), len(pixels.rstrip(b"\0")) - 1
    tall = below // SIDE - above // SIDE + 1
    if not 0 < tall <= BOX:
        return False
    left, right = 0, SIDE - 1
    while pixels[left::SIDE] == _EMPTY:
        left += 1
    while pixels[right::SIDE] == _EMPTY:
        right -= 1
    broad = right - left + 1
    if broad > BOX or max(tall, broad) < BOX - 2:
        return False
    total, down, across = _MOMENTS.dot(np.frombuffer(pixels, np.uint8).astype(np.float32)).tolist()
    middle = SIDE / 2 * total
    return bool(-total < down - middle < total and -total < across - middle < total)
