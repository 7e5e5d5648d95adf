"""The one picture that is worth a shortcut: a 28×28 PNG, 8-bit gray, not interlaced, all its data in one chunk.

That is how MNIST's digits are stored by most who store them. Pillow's own decoder is used, without the reading of
chunks around it, which takes five times as long as the decoding. Whatever is not exactly this is left to `images`.
"""

import zlib

import numpy as np
from PIL import _imaging as codecs

from training.preprocess import BOX, SIDE

# Signature and header chunk, its checksum included: 28 × 28, bit depth 8, gray, no interlacing.
_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x1c\x00\x00\x00\x1c\x08\x00\x00\x00\x00Wf\x80H"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_CHUNK = len(_START)
_DATA = _CHUNK + 8
_AFTER_DATA = 4 + len(_END)
_KIND_CRC = zlib.crc32(b"IDAT")
_BOX = (0, 0, SIDE, SIDE)
_DONE = (-1, 0)
_EMPTY = bytes(SIDE)
_ROWS, _COLUMNS = np.divmod(np.arange(SIDE * SIDE, dtype=np.float32), SIDE)
_MOMENTS = np.stack([np.ones_like(_ROWS), _ROWS, _COLUMNS])


def read_plain_png(content: bytes) -> bytes | None:
    """Decode such a picture to its 784 gray values by row; None for any other, and for one that is damaged."""
    if not content.startswith(_START) or content[_CHUNK + 4 : _DATA] != b"IDAT" or not content.endswith(_END):
        return None
    size = int.from_bytes(content[_CHUNK : _CHUNK + 4], "big")
    if _DATA + size + _AFTER_DATA != len(content):
        return None
    data = content[_DATA : _DATA + size]
    if zlib.crc32(data, _KIND_CRC) != int.from_bytes(content[_DATA + size : _DATA + size + 4], "big"):
        return None
    image = codecs.new("L", (SIDE, SIDE))
    decoder = codecs.zip_decoder("L", "L", 0)
    decoder.setimage(image, _BOX)
    if decoder.decode(data) != _DONE:
        return None
    encoder = codecs.raw_encoder("L", "L", 0, 1)
    encoder.setimage(image, _BOX)
    return bytes(encoder.encode(SIDE * SIDE)[2])


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
