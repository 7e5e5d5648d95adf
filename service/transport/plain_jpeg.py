"""The second shortcut: a JPEG of one piece and without notes on it, such as programs write.

As in `plain_png`, Pillow's decoder is used without what surrounds it. An Exif note may turn the picture, Adobe's may
change its colors, and phones put several pictures into one: whatever has more than JFIF's mark is left to `images`.
"""

from PIL import _imaging as codecs

from service.transport.gray import Gray, decoded
from training.errors import DataError
from training.vision.image_io import jpeg_reduction
from training.vision.image_segments import check_segments

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_PASSED_OVER = frozenset((0xDB, 0xC4, 0xDD, 0xFE))  # tables, restart intervals, comments
_JFIF, _SCAN = 0xE0, 0xDA
_MOST_SCANS, _MOST_SEGMENTS = 16, 64
"""More are left to `images`, which counts them: each takes its time, however short it is."""
_SHORTEST = dict.fromkeys(_FRAMES, 11)
"""Lengths of segments: that of a frame with one channel; a length counts its own two bytes."""


def read_plain_jpeg(content: bytes, most_pixels: int, most_side: int) -> Gray | None:
    """Decode such a picture to its gray values; None for any other, and for a damaged one."""
    if not content.startswith(_START) or not content.endswith(_END):
        return None
    size = _size_of(content)
    if size is None or not 0 < size[0] * size[1] <= most_pixels or max(size) > most_side:
        return None
    if content.count(bytes((0xFF, _SCAN))) > _MOST_SCANS:
        return None
    try:
        check_segments(content)
    except DataError:
        return None
    times = jpeg_reduction(*size)
    smaller = -(-size[0] // times), -(-size[1] // times)
    return decoded(codecs.jpeg_decoder("L", "L", "", times, 0), content, smaller)


def _size_of(content: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the segments before the first scan (ITU-T T.81, annex B)."""
    size, place, has_jfif = None, 2, False
    for _ in range(_MOST_SEGMENTS):
        if place + 4 > len(content) or content[place] != 0xFF:
            return None
        kind, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if kind == _SCAN:
            return size
        if place + 2 + length > len(content) or length < _SHORTEST.get(kind, 2):
            return None
        if kind in _FRAMES and size is None:
            precision, channels = content[place + 4], content[place + 9]
            if precision != 8 or not (channels == 1 or (channels == 3 and has_jfif)):
                return None
            height, width = (int.from_bytes(content[place + at : place + at + 2], "big") for at in (5, 7))
            size = width, height
        elif kind == _JFIF:
            has_jfif = content[place + 4 : place + 9] == b"JFIF\0"
            if not has_jfif:
                return None
        elif kind not in _PASSED_OVER:
            return None
        place += 2 + length
    return None
