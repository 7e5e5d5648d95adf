"""Limits on the structure of encoded images, checked before decoding: scans, segments and chunks.

A decoder takes time for each of them, so a small file could keep it busy for minutes. Nothing is decoded here.
"""

import re

from training.errors import DataError

MAX_SCANS = 100
"""Of a JPEG; progressive ones have about 10, files of several images (MPO) about 30."""
MAX_SEGMENTS = 1000
"""Of a JPEG; also chunks of a PNG other than image data."""
_MAX_FILL = 4096
"""Bytes of a JPEG before its first scan that belong to no segment."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Start of a segment; stuffing, fill bytes, restarts and other markers without a segment are excluded."""


def check_segments(content: bytes) -> None:
    """Raise DataError for an encoded image with too many scans, segments or chunks; other damage is ignored."""
    if content.startswith(_JPEG):
        _check_jpeg(content)
    elif content.startswith(_PNG):
        _check_png(content)


def _check_jpeg(content: bytes) -> None:
    """Walk from marker to marker (ITU-T T.81, annex B); contents of segments, such as previews, are skipped."""
    position, segments, scans, n_fill = len(_JPEG), 0, 0, 0
    while found := _MARKER.search(content, position):
        start, kind = found.end(), content[found.end() - 1]
        n_fill += 0 if scans else found.start() - position
        if (kind == _END and scans) or n_fill > _MAX_FILL:
            break
        segments, scans = segments + 1, scans + (kind == _SCAN)
        if segments > MAX_SEGMENTS:
            raise DataError(f"the JPEG has more than {MAX_SEGMENTS:,} segments; save it anew")
        position = start if kind == _END else start + max(2, int.from_bytes(content[start : start + 2], "big"))
    n_fill += 0 if scans or found else max(0, len(content) - position)
    if n_fill > _MAX_FILL:
        raise DataError(f"the JPEG has more than {_MAX_FILL:,} bytes between its segments; save it anew")
    if scans > MAX_SCANS:
        raise DataError(f"the JPEG has {scans} scans; at most {MAX_SCANS} are read")


def _check_png(content: bytes) -> None:
    position, chunks = len(_PNG), 0
    while position + 8 <= len(content):
        kind = content[position + 4 : position + 8]
        if kind == b"IEND":
            break
        chunks += kind != b"IDAT"
        if chunks > MAX_SEGMENTS:
            raise DataError(f"the PNG has more than {MAX_SEGMENTS:,} chunks beside its data; save it anew")
        position += 12 + int.from_bytes(content[position : position + 4], "big")
