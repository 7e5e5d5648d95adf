"""The images of the last predictions, so that a correction may name a request instead of sending its image again.

A ring (`ring`): each image overwrites the oldest. One process keeps it in its own memory. Where several
answer behind one address, each has its ring in a file that the others can read, since a correction may reach another
process than the one that read the image; the files lie in memory too (`/dev/shm`), where there is such a place.
"""

import fcntl
import logging
import mmap
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import InvalidInput, NotFound
from service.samples.ring import Record, RingBuffer, buffer_size
from training.arrays import Pixels
from training.preprocess import SIDE

log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own in it, which only we can read


@dataclass(frozen=True)
class Seen:
    """An image that was read lately, and what it was taken for."""

    glyph: Pixels
    model: str
    version: int
    label: str
    confidence: float


class RecentPredictions:
    """The images read last, by this process and by those that share its folder; written by the event loop's thread."""

    def __init__(self, most: int, folder: Path | None = None) -> None:
        """Remember at most so many images, 0 for none; with a folder, share them with its other processes."""
        self._most, self._folder = most, folder
        self._file: Any = None
        self._ring = RingBuffer.create(self._open(buffer_size(most)), most) if most else None

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
        if self._ring is None:
            return
        each = iter(answers)
        images = []
        for glyph in glyphs:
            label, confidence = ("", 0.0) if glyph is None else next(each)
            images.append((b"" if glyph is None else bytes(glyph), label.encode(), confidence))
        self._ring.append(request_id.encode(), model.encode(), version, images)

    def recall(self, request_id: str, place: int = 0) -> Seen:
        """Find an image by its request, and by its place among several. Raises NotFound once it is forgotten.

        Takes microseconds, however many images are remembered.
        """
        found = [record for ring in self._rings() if (record := ring.find(request_id.encode(), place))]
        newest = max(found, key=lambda record: record.stamp, default=None)  # an id that is used again means the newest
        if newest and place >= newest.images:
            raise InvalidInput(f"that request had {newest.images} images; index counts from 0", field="index")
        if newest and newest.place == place:
            return _seen(newest)
        raise NotFound(
            f"no image of that request is remembered (only the last {self._most:,} are); "
            "send the image itself with its label"
        )

    def _rings(self) -> Iterator[RingBuffer]:
        """Give the rings of all processes."""
        if self._ring is not None:
            yield self._ring
        if self._folder is None or self._file is None:
            return
        mine = Path(self._file.name).with_suffix(".ring")
        for path in self._folder.glob("*.ring"):
            if path != mine and (ring := _attached(path)):
                yield ring

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
        _allocate(file, size)  # or writing to memory could fail later, where nothing catches it
        path.rename(path.with_suffix(".ring"))
    except OSError:
        path.unlink()
        file.close()
        raise
    return file


def _allocate(file: Any, size: int) -> None:
    """Have the disk give a file its room. Raises OSError."""
    if hasattr(os, "posix_fallocate"):  # macOS lacks it
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.write(bytes(size))
        file.flush()


def _attached(path: Path) -> RingBuffer | None:
    """Map the ring of another process; None when that process has just ended, or is of another release."""
    try:
        with path.open("rb") as file:
            return RingBuffer.attach(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, ValueError):  # gone, or empty
        return None


def _seen(record: Record) -> Seen:
    if not record.label:
        raise InvalidInput("that image of the request could not be read", field="index")
    glyph = np.frombuffer(record.glyph, np.uint8).reshape(SIDE, SIDE).copy()
    label = record.label.decode(errors="ignore")
    return Seen(glyph, record.model.decode(), record.version, label, record.confidence)
