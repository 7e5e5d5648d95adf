"""The images of recent predictions, so that a correction can refer to a request instead of sending its image again.

They are kept in a ring buffer, in which each image overwrites the oldest. With one process it is private memory. With
several, a correction may reach another process than its prediction did, so each process has its buffer in a file that
the others can map; the files are in memory (`/dev/shm`) where that exists.
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

from service.errors import NotFound, UnprocessableContent
from service.samples.ring import Record, RingBuffer, buffer_size
from training.types import Pixels
from training.vision.input_spec import IMAGE_SIZE

log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- we use a folder in it that only we can read


@dataclass(frozen=True)
class RecentPrediction:
    """A recent image and its prediction."""

    glyph: Pixels
    model: str
    version: int
    label: str
    confidence: float


class RecentPredictions:
    """The recent predictions of this process and of those that share its folder. Written by the event loop only."""

    def __init__(self, capacity: int, folder: Path | None = None) -> None:
        """Keep up to `capacity` images; share them with the other processes that use `folder`, if given."""
        self._capacity, self._folder = capacity, folder
        self._file: Any = None
        self._buffer = RingBuffer.create(self._map(buffer_size(capacity)), capacity) if capacity else None

    def _map(self, size: int) -> mmap.mmap:
        if self._folder is not None:
            try:
                self._file = _create_file(self._folder, size)
                return mmap.mmap(self._file.fileno(), size)
            except OSError as error:
                log.warning("recent predictions are not shared between processes: %s", error.strerror)
                self._folder = None
        return mmap.mmap(-1, size)

    def add(
        self,
        request_id: str,
        model: str,
        version: int,
        glyphs: Sequence[Pixels | bytes | None],
        predictions: Sequence[tuple[str, float]],
    ) -> None:
        """Add a request's images, None for unreadable ones, and the (label, confidence) of each readable one."""
        if self._buffer is None:
            return
        remaining = iter(predictions)
        images = []
        for glyph in glyphs:
            label, confidence = ("", 0.0) if glyph is None else next(remaining)
            images.append((b"" if glyph is None else bytes(glyph), label.encode(), confidence))
        self._buffer.append(request_id.encode(), model.encode(), version, images)

    def get(self, request_id: str, index: int = 0) -> RecentPrediction:
        """Return one image of a request. Takes microseconds at any capacity.

        Raises NotFound if it was overwritten, UnprocessableContent if the request had no such readable image.
        """
        found = [record for buffer in self._buffers() if (record := buffer.find(request_id.encode(), index))]
        newest = max(found, key=lambda record: record.timestamp, default=None)  # a reused ID means the newest request
        if newest and index >= newest.images:
            raise UnprocessableContent(f"that request had {newest.images} images; index counts from 0", field="index")
        if newest and newest.index == index:
            return _prediction(newest)
        raise NotFound(
            f"there is no recent image of that request (the last {self._capacity:,} images are kept); "
            "send the image itself with its label"
        )

    def _buffers(self) -> Iterator[RingBuffer]:
        """Yield the buffers of all processes."""
        if self._buffer is not None:
            yield self._buffer
        if self._folder is None or self._file is None:
            return
        own = Path(self._file.name).with_suffix(".ring")
        for path in self._folder.glob("*.ring"):
            if path != own and (buffer := _attach(path)):
                yield buffer

    def close(self) -> None:
        """Delete this process's file."""
        if self._file is not None:
            path = Path(self._file.name).with_suffix(".ring")
            path.unlink(missing_ok=True)
            self._file.close()
            self._file = None
            with suppress(OSError):  # other processes still use the folder
                path.parent.rmdir()


def shared_folder(home: Path) -> Path:
    """Return the folder in which the processes of one home folder share their recent predictions."""
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        name = sha256(str(home.absolute()).encode()).hexdigest()[:16]
        return _SHARED_MEMORY / f"glyphserve-{os.getuid()}-{name}"
    return home / "recent"


def _create_file(folder: Path, size: int) -> Any:
    """Create this process's file, and remove the files of dead processes. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.lstat()
    if owner.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(1, "the folder belongs to another user")
    for path in folder.glob("*.ring"):
        with path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its process is alive
                continue
            path.unlink(missing_ok=True)
    path = folder / f"{os.getpid()}-{time.time_ns()}.new"
    file = path.open("x+b")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)  # before it gets the suffix that other processes look for
        _allocate(file, size)  # otherwise a later write to the mapped memory could crash the process
        path.rename(path.with_suffix(".ring"))
    except OSError:
        path.unlink()
        file.close()
        raise
    return file


def _allocate(file: Any, size: int) -> None:
    """Reserve disk space for a file. Raises OSError."""
    if hasattr(os, "posix_fallocate"):  # missing on macOS
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.write(bytes(size))
        file.flush()


def _attach(path: Path) -> RingBuffer | None:
    """Map the buffer of another process; None if that has just ended or uses another format."""
    try:
        with path.open("rb") as file:
            return RingBuffer.attach(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, ValueError):  # deleted or empty
        return None


def _prediction(record: Record) -> RecentPrediction:
    if not record.label:
        raise UnprocessableContent("that image of the request could not be read", field="index")
    glyph = np.frombuffer(record.glyph, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE).copy()
    label = record.label.decode(errors="ignore")
    return RecentPrediction(glyph, record.model.decode(), record.version, label, record.confidence)
