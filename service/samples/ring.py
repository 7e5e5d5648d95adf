"""A ring buffer of images with a hash index by request ID, in one block of memory that other processes can map.

    records     capacity × one record; record n is at index (n - 1) mod capacity; each overwrites the oldest
    buckets     u64 each: the number of the newest record of a request whose ID hashes to the bucket
    trailer     the capacity and the random key of the hash

Each record links to the previous record of its bucket. Links are never removed: a link to an overwritten record is
detected by the record number found there, and ends the search. Adding and finding therefore take constant time. The
hash is keyed, so that clients cannot choose IDs that all hash to one bucket.
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
_CHECKSUM = struct.Struct("<I")
_RECORD_SIZE = _CHECKSUM.size + _RECORD.size
_BUCKET = struct.Struct("<Q")
_TRAILER = struct.Struct("<Q16s")
_MAX_LINKS = 256
"""Chains are short; this bounds a search while another process is writing them."""


@dataclass(frozen=True)
class Record:
    """One image of a request and its prediction."""

    number: int
    """Sequence number in the buffer, from 1."""
    previous: int
    """The previous record of the same bucket; 0 for none."""
    timestamp: int
    """Unix time in nanoseconds; the same for all images of a request."""
    index: int
    """Index of the image in the request."""
    images: int
    """Number of images in the request."""
    version: int
    confidence: float
    request: bytes
    model: bytes
    label: bytes
    """Empty for an unreadable image."""
    glyph: bytes


def buffer_size(capacity: int) -> int:
    """Return the size in bytes of a buffer of `capacity` records."""
    return capacity * _RECORD_SIZE + _bucket_count(capacity) * _BUCKET.size + _TRAILER.size


class RingBuffer:
    """A ring buffer in `buffer_size(capacity)` bytes of memory. One thread of one process writes; any may read."""

    def __init__(self, memory: Any, capacity: int, key: bytes, number: int = 0) -> None:
        """Use memory whose newest record is `number`."""
        self._memory, self._capacity, self._key, self._number = memory, capacity, key, number
        self._buckets, self._mask = capacity * _RECORD_SIZE, _bucket_count(capacity) - 1

    @classmethod
    def create(cls, memory: Any, capacity: int) -> "RingBuffer":
        """Create an empty buffer in zeroed memory."""
        key = os.urandom(16)
        memory[buffer_size(capacity) - _TRAILER.size : buffer_size(capacity)] = _TRAILER.pack(capacity, key)
        return cls(memory, capacity, key)

    @classmethod
    def attach(cls, memory: Any) -> "RingBuffer | None":
        """Return the buffer of another process for reading; None if the memory does not have this format."""
        if len(memory) < _TRAILER.size:
            return None
        capacity, key = _TRAILER.unpack_from(memory, len(memory) - _TRAILER.size)
        is_valid = 0 < capacity < 2**32 and buffer_size(capacity) == len(memory)
        return cls(memory, capacity, key) if is_valid else None

    def append(
        self,
        request: bytes,
        model: bytes,
        version: int,
        images: Sequence[tuple[bytes, bytes, float]],
    ) -> None:
        """Add a request's images, each as (glyph, label, confidence); an unreadable image has an empty glyph."""
        timestamp, count, last = time.time_ns(), len(images), len(images) - 1
        for index, (glyph, label, confidence) in enumerate(images):
            self._number += 1
            bucket = self._bucket(request) if index == last else 0
            previous = self._previous(bucket, request) if index == last else 0
            record = _RECORD.pack(
                self._number, previous, timestamp, index, count, version, confidence, request, model, label, glyph
            )
            start = self._start(self._number)
            # In one piece, with its checksum, so that readers detect a record that is being written.
            self._memory[start : start + _RECORD_SIZE] = _CHECKSUM.pack(zlib.crc32(record)) + record
            if index == last:
                _BUCKET.pack_into(self._memory, bucket, self._number)

    def find(self, request: bytes, index: int) -> Record | None:
        """Return an image of the newest request with this ID.

        If the request had fewer images, or the image was overwritten, returns another record of the request; None if
        no record of it is left.
        """
        (number,) = _BUCKET.unpack_from(self._memory, self._bucket(request))
        for _ in range(_MAX_LINKS):
            last = self._read(number)
            if last is None:
                return None
            if last.request == request:
                wanted = self._read(last.number - last.images + 1 + index) if index < last.images else None
                return wanted if wanted and (wanted.request, wanted.timestamp) == (request, last.timestamp) else last
            number = last.previous
        return None

    def _previous(self, bucket: int, request: bytes) -> int:
        """Return the number that a new record links to; an older record of the same request is skipped."""
        (number,) = _BUCKET.unpack_from(self._memory, bucket)
        newest = self._read(number)
        return newest.previous if newest and newest.request == request else int(number)

    def _read(self, number: int) -> Record | None:
        """Return a record; None if it was overwritten, never written, or is being written."""
        start = self._start(number)
        content = bytes(self._memory[start : start + _RECORD_SIZE])
        (checksum,) = _CHECKSUM.unpack_from(content)
        if number <= 0 or zlib.crc32(memoryview(content)[_CHECKSUM.size :]) != checksum:
            return None
        stored_number, previous, timestamp, index, images, version, confidence, *texts, glyph = _RECORD.unpack_from(
            content, _CHECKSUM.size
        )
        if stored_number != number:
            return None
        request, model, label = (text.rstrip(b"\0") for text in texts)
        return Record(number, previous, timestamp, index, images, version, confidence, request, model, label, glyph)

    def _start(self, number: int) -> int:
        return (number - 1) % self._capacity * _RECORD_SIZE

    def _bucket(self, request: bytes) -> int:
        digest = blake2b(request, digest_size=8, key=self._key).digest()
        return self._buckets + (int.from_bytes(digest, "little") & self._mask) * _BUCKET.size


def _bucket_count(capacity: int) -> int:
    """Return the number of buckets: a power of two of at least `capacity`."""
    return 1 << max(capacity - 1, 1).bit_length()
