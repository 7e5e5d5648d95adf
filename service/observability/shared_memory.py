"""Shared memory in which the API processes of one host publish metrics and health.

Each process writes its own page, whole, with a checksum; all processes read all pages. The memory is anonymous and
belongs to the parent process. It survives the death of a child, so that the replacement continues its counters.
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
_HEADER = struct.Struct("<II")  # length, CRC-32
_ATTEMPTS = 50


class SharedPages:
    """One page of shared memory for each process."""

    def __init__(self, fd: int, n_pages: int) -> None:
        """Map the memory behind a file descriptor that `create` opened."""
        self.fd, self.n_pages = fd, n_pages
        self._memory = mmap.mmap(fd, n_pages * _PAGE_BYTES)

    @classmethod
    def create(cls, n_pages: int) -> "SharedPages":
        """Allocate empty pages. Child processes inherit the file descriptor."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("glyphserve")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.truncate(fd, n_pages * _PAGE_BYTES)
        return cls(fd, n_pages)

    def write(self, number: int, page: dict[str, Any]) -> None:
        """Replace a page. Only the process that owns the page may call this."""
        content = orjson.dumps(page)
        if len(content) > _PAGE_BYTES - _HEADER.size:
            log.error("the page of process %d is too long: %d bytes", number, len(content))
            return
        start = number * _PAGE_BYTES
        header = _HEADER.pack(len(content), zlib.crc32(content))
        self._memory[start : start + _HEADER.size + len(content)] = header + content

    def read(self, number: int) -> dict[str, Any] | None:
        """Read a page; None if it is empty. A page that is being written is read again."""
        start = number * _PAGE_BYTES
        for _ in range(_ATTEMPTS):
            length, checksum = _HEADER.unpack_from(self._memory, start)
            if not length:
                return None
            begin = start + _HEADER.size
            content = self._memory[begin : begin + min(length, _PAGE_BYTES - _HEADER.size)]
            if zlib.crc32(content) == checksum:
                page = _parse(content)
                if page is None:
                    break
                return page
        log.error("the page of process %d cannot be read", number)  # the process was killed while it wrote
        return None

    def close(self) -> None:
        """Unmap the memory and close the file descriptor."""
        self._memory.close()
        os.close(self.fd)


def _parse(content: bytes) -> dict[str, Any] | None:
    """Parse a page with a correct checksum; None for what another release may have written."""
    try:
        page = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return page if isinstance(page, dict) else None


class PeerProcesses:
    """The shared pages as one of the processes uses them."""

    def __init__(self, pages: SharedPages, number: int) -> None:
        """Use page `number`. `previous_page` is what a killed process left there."""
        self._pages, self.number = pages, number
        self.previous_page = pages.read(number) or {}

    def write(self, page: dict[str, Any]) -> None:
        """Replace this process's page."""
        self._pages.write(self.number, page | {"pid": os.getpid()})

    def peer_pages(self) -> list[dict[str, Any]]:
        """Read the pages of the other processes; `is_alive` is false for a process that has exited."""
        pages = [self._pages.read(number) for number in range(self._pages.n_pages) if number != self.number]
        return [page | {"is_alive": _is_alive(page["pid"])} for page in pages if page]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process runs as another user
        return True
    return True
