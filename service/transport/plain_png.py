"""The picture that is worth a shortcut: a PNG of 8-bit gray, not interlaced, all its data in one chunk.

That is how MNIST's digits are stored by most who store them. Pillow's own decoder is used, without the reading of
chunks around it, which takes five times as long as the decoding. Whatever is not exactly this is left to `images`.
"""

import struct
import zlib
from functools import lru_cache

from PIL import _imaging as codecs

from service.transport.gray import Gray, decoded

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER = struct.Struct(">16xII5sI")
_GRAY = b"\x08\x00\x00\x00\x00"  # bit depth 8, gray, no interlacing
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_CHUNK = _HEADER.size
_AFTER_DATA = 4 + len(_END)


def read_plain_png(content: bytes, most_pixels: int, most_side: int) -> Gray | None:
    """Decode such a picture to its gray values; None for any other, and for a damaged one."""
    size = _size_of(content[:_CHUNK])
    if size is None or not 0 < size[0] * size[1] <= most_pixels or max(size) > most_side:
        return None
    if not content.endswith(_END):
        return None
    length = int.from_bytes(content[_CHUNK : _CHUNK + 4], "big")
    if _CHUNK + 8 + length + _AFTER_DATA != len(content):
        return None
    chunk = content[_CHUNK + 4 : -_AFTER_DATA]
    if not chunk.startswith(b"IDAT") or zlib.crc32(chunk) != int.from_bytes(content[-_AFTER_DATA : -len(_END)], "big"):
        return None
    return decoded(codecs.zip_decoder("L", "L", 0), chunk[4:], size)


@lru_cache(maxsize=64)
def _size_of(header: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the signature and the header; None unless it is such a picture's."""
    if len(header) < _CHUNK or not header.startswith(_START):
        return None
    width, height, kind, check = _HEADER.unpack(header)
    return (width, height) if kind == _GRAY and check == zlib.crc32(header[12:-4]) else None
