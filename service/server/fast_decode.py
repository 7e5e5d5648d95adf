"""Fast decoders for simple PNG and JPEG files, which call Pillow's C module directly.

For a small image, Pillow's Python classes take several times as long as the decoding itself. A PNG is simple if it is
8-bit grayscale, not interlaced, with one IDAT chunk: most MNIST digits are stored that way. A JPEG is simple if it
contains one image and no Exif or Adobe segment, which may change orientation or colors. All other files are left to
`service.inference.images`. `PIL._imaging` is private; tests compare the results with those of Pillow's public API.
"""

import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import _imaging as codecs

from training.errors import DataError
from training.types import Pixels
from training.vision.image_io import jpeg_reduction
from training.vision.image_segments import check_segments

CoreImage = Any
"""Pillow's C image object in mode L; its `size` is (width, height)."""
_DONE = (-1, 0)

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_HEADER = struct.Struct(">16xII5sI")
_PNG_GRAY = b"\x08\x00\x00\x00\x00"  # bit depth 8, grayscale, not interlaced
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_CHUNK = _PNG_HEADER.size
_PNG_AFTER_DATA = 4 + len(_PNG_END)

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_IGNORED = frozenset((0xDB, 0xC4, 0xDD, 0xFE))  # tables, restart intervals, comments
_JFIF, _SCAN = 0xE0, 0xDA
_MAX_SCANS, _MAX_SEGMENTS = 16, 64
"""Files with more are left to `service.inference.images`, which limits them: each takes time, however short it is."""
_MIN_LENGTHS = dict.fromkeys(_FRAMES, 11)
"""Minimum segment lengths, including the two bytes of the length: a frame with one component."""


def decode_fast_png(content: bytes, max_pixels: int, max_side: int) -> CoreImage | None:
    """Decode a simple PNG; None for any other file, damaged ones included."""
    size = _png_size(content[:_PNG_CHUNK])
    if size is None or not 0 < size[0] * size[1] <= max_pixels or max(size) > max_side:
        return None
    if not content.endswith(_PNG_END):
        return None
    length = int.from_bytes(content[_PNG_CHUNK : _PNG_CHUNK + 4], "big")
    if _PNG_CHUNK + 8 + length + _PNG_AFTER_DATA != len(content):
        return None
    chunk = content[_PNG_CHUNK + 4 : -_PNG_AFTER_DATA]
    checksum = int.from_bytes(content[-_PNG_AFTER_DATA : -len(_PNG_END)], "big")
    if not chunk.startswith(b"IDAT") or zlib.crc32(chunk) != checksum:
        return None
    return run_decoder(codecs.zip_decoder("L", "L", 0), chunk[4:], size)


@lru_cache(maxsize=64)
def _png_size(header: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the signature and the header chunk; None if the PNG is not simple."""
    if len(header) < _PNG_CHUNK or not header.startswith(_PNG_START):
        return None
    width, height, kind, checksum = _PNG_HEADER.unpack(header)
    return (width, height) if kind == _PNG_GRAY and checksum == zlib.crc32(header[12:-4]) else None


def decode_fast_jpeg(content: bytes, max_pixels: int, max_side: int) -> CoreImage | None:
    """Decode a simple JPEG; None for any other file, damaged ones included."""
    if not content.startswith(_JPEG_START) or not content.endswith(_JPEG_END):
        return None
    size = _jpeg_size(content)
    if size is None or not 0 < size[0] * size[1] <= max_pixels or max(size) > max_side:
        return None
    if content.count(bytes((0xFF, _SCAN))) > _MAX_SCANS:
        return None
    try:
        check_segments(content)
    except DataError:
        return None
    scale = jpeg_reduction(*size)
    reduced = -(-size[0] // scale), -(-size[1] // scale)
    return run_decoder(codecs.jpeg_decoder("L", "L", "", scale, 0), content, reduced)


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the segments before the first scan (ITU-T T.81, annex B); None if it is not simple."""
    size, offset, has_jfif = None, 2, False
    for _ in range(_MAX_SEGMENTS):
        if offset + 4 > len(content) or content[offset] != 0xFF:
            return None
        marker, length = content[offset + 1], int.from_bytes(content[offset + 2 : offset + 4], "big")
        if marker == _SCAN:
            return size
        if offset + 2 + length > len(content) or length < _MIN_LENGTHS.get(marker, 2):
            return None
        if marker in _FRAMES and size is None:
            precision, components = content[offset + 4], content[offset + 9]
            if precision != 8 or not (components == 1 or (components == 3 and has_jfif)):
                return None
            height, width = (int.from_bytes(content[offset + at : offset + at + 2], "big") for at in (5, 7))
            size = width, height
        elif marker == _JFIF:
            has_jfif = content[offset + 4 : offset + 9] == b"JFIF\0"
            if not has_jfif:
                return None
        elif marker not in _IGNORED:
            return None
        offset += 2 + length
    return None


def run_decoder(decoder: Any, data: bytes, size: tuple[int, int]) -> CoreImage | None:
    """Decode an image of (width, height) with one of Pillow's decoders; None if the data are damaged."""
    gray = codecs.new("L", size)
    decoder.setimage(gray, (0, 0, *size))
    return gray if decoder.decode(data) == _DONE else None


def pixel_bytes(gray: CoreImage) -> bytes:
    """Return the pixels row by row."""
    width, height = gray.size
    encoder = codecs.raw_encoder("L", "L", 0, 1)
    encoder.setimage(gray, (0, 0, width, height))
    pixels: bytes = encoder.encode(width * height)[2]
    return pixels


def to_array(gray: CoreImage) -> Pixels:
    """Return the pixels as uint8 (height, width)."""
    width, height = gray.size
    return np.frombuffer(pixel_bytes(gray), np.uint8).reshape(height, width)
