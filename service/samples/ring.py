"""A ring buffer of images with a hash index by request id, in one piece of memory that other processes can map.

    records     most × one record; record number n is at (n - 1) mod most; each overwrites the oldest
    heads       hash buckets, u64: the number of the newest record of a request whose id falls into the bucket
    trailer     most, and the random key of the hash

A record links to the record that was the head of its bucket before. Nothing is ever unlinked: a link to a record that
was overwritten since is recognised by the number that is there now, and ends the search. So writing and finding take
the same time whatever the size. The hash is keyed, so that nobody can choose ids that fall into one bucket.
"""

import os
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_RECORD = struct.Struct("<QQQHHIf64s64s64s784s")
_CHECK = struct.Struct("<I")
_SIZE = _CHECK.size + _RECORD.size
_HEAD = struct.Struct("<Q")
_TRAILER = struct.Struct("<Q16s")
_MOST_STEPS = 256
"""Links followed at most: chains are short, but another process may be writing them in this moment."""


@dataclass(frozen=True)
class Record:
    """One image of a request, and what it was taken for."""

    number: int
    """Counts all records of a ring from 1."""
    previous: int
    """The record that was the head of the same bucket before; 0 for none."""
    stamp: int
    """When, in nanoseconds since 1970; the same for all images of a request."""
    place: int
    images: int
    """How many images the request had."""
    version: int
    confidence: float
    request: bytes
    model: bytes
    label: bytes
    """Empty for an image that could not be read."""
    glyph: bytes


def buffer_size(most: int) -> int:
    """Return the size of a ring of `most` records in bytes."""
    return most * _SIZE + _buckets(most) * _HEAD.size + _TRAILER.size


class RingBuffer:
    """A ring on a buffer of `buffer_size(most)` bytes. One thread of one process writes; anybody may read."""

    def __init__(self, memory: Any, most: int, key: bytes, number: int = 0) -> None:
        """Use memory whose newest record is `number`."""
        self._memory, self._most, self._key, self._number = memory, most, key, number
        self._heads, self._mask = most * _SIZE, _buckets(most) - 1

    @classmethod
    def make(cls, memory: Any, most: int) -> "RingBuffer":
        """Make an empty ring on memory that is all zero."""
        key = os.urandom(16)
        memory[buffer_size(most) - _TRAILER.size : buffer_size(most)] = _TRAILER.pack(most, key)
        return cls(memory, most, key)

    @classmethod
    def attach(cls, memory: Any) -> "RingBuffer | None":
        """Read the ring of another process; None for memory that holds no ring of this form."""
        if len(memory) < _TRAILER.size:
            return None
        most, key = _TRAILER.unpack_from(memory, len(memory) - _TRAILER.size)
        return cls(memory, most, key) if 0 < most < 2**32 and buffer_size(most) == len(memory) else None

    def append(
        self,
        request: bytes,
        model: bytes,
        version: int,
        images: Sequence[tuple[bytes, bytes, float]],
    ) -> None:
        """Add a request's images, each a glyph (empty if it could not be read), its label and its confidence."""
        stamp, count, last = time.time_ns(), len(images), len(images) - 1
        for place, (glyph, label, confidence) in enumerate(images):
            self._number += 1
            head = self._bucket(request) if place == last else 0
            before = self._before(head, request) if place == last else 0
            record = _RECORD.pack(
                self._number, before, stamp, place, count, version, confidence, request, model, label, glyph
            )
            start = self._start(self._number)
            # In one piece, with its checksum: a reader recognises a record that is being written.
            self._memory[start : start + _SIZE] = _CHECK.pack(zlib.crc32(record)) + record
            if place == last:
                _HEAD.pack_into(self._memory, head, self._number)

    def find(self, request: bytes, place: int) -> Record | None:
        """Find an image of the newest request of that id.

        Returns its record; where the request had fewer images, or that image was overwritten, another record of the
        same request; None when nothing of the request is left.
        """
        (number,) = _HEAD.unpack_from(self._memory, self._bucket(request))
        for _ in range(_MOST_STEPS):
            last = self._read(number)
            if last is None:
                return None
            if last.request == request:
                wanted = self._read(last.number - last.images + 1 + place) if place < last.images else None
                return wanted if wanted and (wanted.request, wanted.stamp) == (request, last.stamp) else last
            number = last.previous
        return None

    def _before(self, head: int, request: bytes) -> int:
        """Return the head of a bucket to link to; an older record of the same request is passed over."""
        (number,) = _HEAD.unpack_from(self._memory, head)
        known = self._read(number)
        return known.previous if known and known.request == request else int(number)

    def _read(self, number: int) -> Record | None:
        """Read a record; None when it was overwritten, never written, or is being written."""
        start = self._start(number)
        content = bytes(self._memory[start : start + _SIZE])
        (check,) = _CHECK.unpack_from(content)
        if number <= 0 or zlib.crc32(memoryview(content)[_CHECK.size :]) != check:
            return None
        number_there, previous, stamp, place, images, version, confidence, *texts, glyph = _RECORD.unpack_from(
            content, _CHECK.size
        )
        if number_there != number:
            return None
        request, model, label = (text.rstrip(b"\0") for text in texts)
        return Record(number, previous, stamp, place, images, version, confidence, request, model, label, glyph)

    def _start(self, number: int) -> int:
        return (number - 1) % self._most * _SIZE

    def _bucket(self, request: bytes) -> int:
        digest = blake2b(request, digest_size=8, key=self._key).digest()
        return self._heads + (int.from_bytes(digest, "little") & self._mask) * _HEAD.size


def _buckets(most: int) -> int:
    """Return the number of buckets: the power of two from `most` on."""
    return 1 << max(most - 1, 1).bit_length()
