"""Gray values as Pillow's own decoders leave them, without the classes that Pillow has around them.

What surrounds the decoding of a small picture takes Pillow several times as long as the decoding itself.
"""

from typing import Any

import numpy as np
from PIL import _imaging as codecs

from training.types import Pixels

Gray = Any
"""Pillow's inner image, of mode L: its `size` is (width, height)."""
_DONE = (-1, 0)


def decoded(decoder: Any, data: bytes, size: tuple[int, int]) -> Gray | None:
    """Let one of Pillow's decoders read a picture of this (width, height); None when the data are no good."""
    gray = codecs.new("L", size)
    decoder.setimage(gray, (0, 0, *size))
    return gray if decoder.decode(data) == _DONE else None


def pixels_of(gray: Gray) -> bytes:
    """Give the gray values row by row."""
    width, height = gray.size
    encoder = codecs.raw_encoder("L", "L", 0, 1)
    encoder.setimage(gray, (0, 0, width, height))
    pixels: bytes = encoder.encode(width * height)[2]
    return pixels


def array_of(gray: Gray) -> Pixels:
    """Give the gray values as uint8 (height, width)."""
    width, height = gray.size
    return np.frombuffer(pixels_of(gray), np.uint8).reshape(height, width)
