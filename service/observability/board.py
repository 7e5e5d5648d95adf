"""A board on which the API processes of one host tell each other what they count and how they are.

Each process has a page of memory that it alone writes, whole, with a checksum; all read all. The memory belongs to
the parent that started them: it has no name in any folder, needs no room on a disk, and outlives a process that is
killed, so that its successor goes on counting where the page ends.
"""

import logging
import mmap
import os
import struct
import tempfile
import zlib
from typing import Any

import orjson

log = logging.getLogger(__name__)

_PAGE_BYTES = 2 * 1024**2
_HEAD = struct.Struct("<II")
_TRIES = 50


class Board:
    """The pages of all processes."""

    def __init__(self, file_number: int, places: int) -> None:
        """Share the memory behind a file number that `make` gave."""
        self.file_number, self.places = file_number, places
        self._memory = mmap.mmap(file_number, places * _PAGE_BYTES)

    @classmethod
    def make(cls, places: int) -> "Board":
        """Make a board, empty; processes inherit its file number."""
        if hasattr(os, "memfd_create"):
            number = os.memfd_create("glyphserve")
        else:
            with tempfile.TemporaryFile() as file:
                number = os.dup(file.fileno())
        os.truncate(number, places * _PAGE_BYTES)
        return cls(number, places)

    def write(self, place: int, page: dict[str, Any]) -> None:
        """Replace a page; only its own process may."""
        content = orjson.dumps(page)
        if len(content) > _PAGE_BYTES - _HEAD.size:
            log.error("the page of process %d is too long: %d bytes", place, len(content))
            return
        start = place * _PAGE_BYTES
        head = _HEAD.pack(len(content), zlib.crc32(content))
        self._memory[start : start + _HEAD.size + len(content)] = head + content

    def read(self, place: int) -> dict[str, Any] | None:
        """Read a page; None while nothing is on it. One that is being written is read again."""
        start = place * _PAGE_BYTES
        for _ in range(_TRIES):
            length, check = _HEAD.unpack_from(self._memory, start)
            if not length:
                return None
            begin = start + _HEAD.size
            content = self._memory[begin : begin + min(length, _PAGE_BYTES - _HEAD.size)]
            if zlib.crc32(content) == check:
                page = _object(content)
                if page is None:
                    break
                return page
        log.error("the page of process %d cannot be read", place)  # it was killed while it wrote
        return None

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.file_number)


def _object(content: bytes) -> dict[str, Any] | None:
    """Read a page whose checksum is right; None for what another release may have written."""
    try:
        page = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return page if isinstance(page, dict) else None


class Siblings:
    """One process among those of a board."""

    def __init__(self, board: Board, place: int) -> None:
        """Take a place; what a process that was killed had written there is `inherited`."""
        self._board, self.place = board, place
        self.inherited = board.read(place) or {}

    def publish(self, page: dict[str, Any]) -> None:
        """Write what the others shall know."""
        self._board.write(self.place, page | {"pid": os.getpid()})

    def others(self) -> list[dict[str, Any]]:
        """Read what the others have written; of one that is gone `is_alive` is false."""
        pages = [self._board.read(place) for place in range(self._board.places) if place != self.place]
        return [page | {"is_alive": _is_alive(page["pid"])} for page in pages if page]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else
        return True
    return True
