"""What is refused of an encoded picture before it is opened: more scans, segments or chunks than any picture needs.

Decoders take time for each of them, however small it is: a few bytes can stand for minutes. Nothing is decoded here.
"""

import re

from training.errors import DataError

MAX_SCANS = 100
"""Of a JPEG: a progressive one has about 10, one of several pictures (MPO) some 30."""
MAX_SEGMENTS = 1000
"""Of a JPEG in all, and chunks of a PNG before and after its data."""
_MAX_FILLING = 4096
"""Bytes of a JPEG before its first scan that belong to no segment."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""The start of a segment: neither stuffing, filling, a restart, nor another marker that stands alone."""


def check_segments(content: bytes) -> None:
    """Raise DataError for an encoded picture of too many scans, segments or chunks; other damage is passed over."""
    if content.startswith(_JPEG):
        _check_jpeg(content)
    elif content.startswith(_PNG):
        _check_png(content)


def _check_jpeg(content: bytes) -> None:
    """Walk from marker to marker (ITU-T T.81, annex B); what is in a segment, such as a preview, is passed over."""
    place, segments, scans, filling = len(_JPEG), 0, 0, 0
    while found := _MARKER.search(content, place):
        start, kind = found.end(), content[found.end() - 1]
        filling += 0 if scans else found.start() - place
        if (kind == _END and scans) or filling > _MAX_FILLING:
            break
        segments, scans = segments + 1, scans + (kind == _SCAN)
        if segments > MAX_SEGMENTS:
            raise DataError(f"the JPEG has more than {MAX_SEGMENTS:,} segments; save it anew")
        place = start if kind == _END else start + max(2, int.from_bytes(content[start : start + 2], "big"))
    filling += 0 if scans or found else max(0, len(content) - place)
    if filling > _MAX_FILLING:
        raise DataError(f"the JPEG has more than {_MAX_FILLING:,} bytes between its segments; save it anew")
    if scans > MAX_SCANS:
        raise DataError(f"the JPEG has {scans} scans; at most {MAX_SCANS} are read")


def _check_png(content: bytes) -> None:
    place, chunks = len(_PNG), 0
    while place + 8 <= len(content):
        kind = content[place + 4 : place + 8]
        if kind == b"IEND":
            break
        chunks += kind != b"IDAT"
        if chunks > MAX_SEGMENTS:
            raise DataError(f"the PNG has more than {MAX_SEGMENTS:,} chunks beside its data; save it anew")
        place += 12 + int.from_bytes(content[place : place + 4], "big")
