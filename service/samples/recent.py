"""The images of the last predictions, so that a correction may name a request instead of sending its image again.

A ring of records of one size: each image overwrites the oldest. One process keeps it in its own memory. Where several
answer behind one address, each has its ring in a file that the others can read, since a correction may reach another
process than the one that read the image; the files lie in memory too (`/dev/shm`), where there is such a place.
"""

import fcntl
import logging
import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import InvalidInput, NotFound
from training.arrays import Pixels
from training.preprocess import SIDE

log = logging.getLogger(__name__)

_FIELDS = np.dtype(
    [
        ("check", "<u4"),
        ("stamp", "<u8"),
        ("place", "<u2"),
        ("images", "<u2"),
        ("version", "<u4"),
        ("confidence", "<f4"),
        ("request", "S64"),
        ("model", "S64"),
        ("label", "S64"),
        ("glyph", "u1", SIDE * SIDE),
    ]
)
_RECORD = struct.Struct(f"<QHHIf64s64s64s{SIDE * SIDE}s")
_CHECK = struct.Struct("<I")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own in it, which only we can read


@dataclass(frozen=True)
class Seen:
    """An image that was read lately, and what it was taken for."""

    glyph: Pixels
    model: str
    version: int
    label: str
    confidence: float


class Recent:
    """The images read last, by this process and by those that share its folder; written by the event loop's thread."""

    def __init__(self, most: int, folder: Path | None = None) -> None:
        """Remember at most so many images, 0 for none; with a folder, share them with its other processes."""
        self._most, self._next, self._folder = most, 0, folder
        self._file: Any = None
        self._ring = self._open(most * _FIELDS.itemsize) if most else bytearray()

    def _open(self, size: int) -> mmap.mmap:
        if self._folder is not None:
            try:
                self._file = _claim(self._folder, size)
                return mmap.mmap(self._file.fileno(), size)
            except OSError as error:
                log.warning("images are remembered by each process alone: %s", error.strerror)
                self._folder = None
        return mmap.mmap(-1, size)

    def remember(
        self,
        request_id: str,
        model: str,
        version: int,
        glyphs: Sequence[Pixels | bytes | None],
        answers: Sequence[tuple[str, float]],
    ) -> None:
        """Remember a request's images, None for those that could not be read, and the others' (label, confidence)."""
        if not self._most:
            return
        each, stamp = iter(answers), time.time_ns()
        request, name = request_id.encode(), model.encode()
        for place, glyph in enumerate(glyphs):
            label, confidence = ("", 0.0) if glyph is None else next(each)
            content = b"" if glyph is None else bytes(glyph)
            record = _RECORD.pack(
                stamp, place, len(glyphs), version, confidence, request, name, label.encode(), content
            )
            start = self._next * _FIELDS.itemsize
            # In one piece, with its checksum: who reads it in this very moment sees that it is not whole.
            self._ring[start : start + _FIELDS.itemsize] = _CHECK.pack(zlib.crc32(record)) + record
            self._next = (self._next + 1) % self._most

    def recall(self, request_id: str, place: int = 0) -> Seen:
        """Find an image by its request, and by its place among several. Raises NotFound once it is forgotten."""
        found = [record for ring in self._rings() for record in _of(ring, request_id)]
        newest = max((record["stamp"] for record in found), default=None)  # an id that is used again means the newest
        images = [record for record in found if record["stamp"] == newest]
        if images and place >= images[0]["images"]:
            raise InvalidInput(f"that request had {images[0]['images']} images; index counts from 0", field="index")
        for record in images:
            if record["place"] == place:
                return _seen(record)
        raise NotFound(
            f"no image of that request is remembered (only the last {self._most:,} are); "
            "send the image itself with its label"
        )

    def _rings(self) -> Iterator[bytes]:
        """Give the rings of all processes, as they are now."""
        if self._folder is None:
            yield bytes(self._ring)
            return
        for path in self._folder.glob("*.ring"):
            try:
                yield path.read_bytes()
            except FileNotFoundError:  # that process has just ended
                continue

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            path = Path(self._file.name).with_suffix(".ring")
            path.unlink(missing_ok=True)
            self._file.close()
            self._file = None
            with suppress(OSError):  # others are still there
                path.parent.rmdir()


def shared_folder(home: Path) -> Path:
    """Find the folder in which the processes of one home share what they remember."""
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        name = sha256(str(home.absolute()).encode()).hexdigest()[:16]
        return _SHARED_MEMORY / f"glyphserve-{os.getuid()}-{name}"
    return home / "recent"


def _claim(folder: Path, size: int) -> Any:
    """Make this process's file, and remove those of processes that are gone. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.lstat()
    if owner.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(1, "the folder belongs to somebody else")
    for path in folder.glob("*.ring"):
        with path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its process lives
                continue
            path.unlink(missing_ok=True)
    path = folder / f"{os.getpid()}-{time.time_ns()}.new"
    file = path.open("x+b")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)  # before it has the name by which others find it, and would remove it
        os.posix_fallocate(file.fileno(), 0, size)  # or writing to memory could fail later, where nothing catches it
        path.rename(path.with_suffix(".ring"))
    except OSError:
        path.unlink()
        file.close()
        raise
    return file


def _of(ring: bytes, request_id: str) -> list[Any]:
    """Find the records of a request that are whole."""
    records = np.frombuffer(ring, _FIELDS, count=len(ring) // _FIELDS.itemsize)
    mine = records[records["request"] == request_id.encode()]
    return [record for record in mine if zlib.crc32(record.tobytes()[_CHECK.size :]) == record["check"]]


def _seen(record: Any) -> Seen:
    if not record["label"]:
        raise InvalidInput("that image of the request could not be read", field="index")
    glyph = record["glyph"].reshape(SIDE, SIDE).copy()
    label = record["label"].decode(errors="ignore")
    return Seen(glyph, record["model"].decode(), int(record["version"]), label, float(record["confidence"]))
