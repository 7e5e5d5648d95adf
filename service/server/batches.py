"""Batches of requests on the fast path, computed on the event loop or, for large networks, in a thread."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from service.serving.model import ServingModel
from training.types import Floats, Pixels
from training.vision.input_spec import IMAGE_SIZE

MAX_BATCH_IMAGES = 64
_MAX_QUEUED_IMAGES = 2048
"""Images queued for the thread. Further requests are left to the application, which rejects those that are too many."""


class Client(Protocol):
    """The connection of a request."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Send a 200 response with these header lines and this body."""

    def fall_back(self, request: "FastRequest") -> None:
        """Pass the request to the application, unless a response has started."""

    def abort(self) -> None:
        """Close the connection immediately."""


@dataclass(slots=True)
class FastRequest:
    """A request on the fast path."""

    client: Client
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    """The headers by name."""
    started: float
    body: bytes = b""
    request_id: str = ""
    in_thread: bool = False
    """Whether it waits for the inference thread."""
    is_done: bool = False
    """Whether it was answered or passed to the application."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests for the same version."""

    snapshot: ServingModel
    requests: Sequence[FastRequest]
    glyphs: Sequence[bytes]
    pixels: Pixels
    """The glyphs, uint8 (n, 28, 28)."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The output for a batch."""

    probabilities: Floats
    """One row per request, in the order of the labels."""
    started: float
    """When inference started, by time.perf_counter."""
    seconds: float


def make_batch(snapshot: ServingModel, requests: Sequence[FastRequest], glyphs: Sequence[bytes]) -> Batch:
    """Combine the glyphs of requests."""
    return Batch(
        snapshot, requests, glyphs, np.frombuffer(b"".join(glyphs), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    )


def compute(batch: Batch) -> BatchResult:
    """Run inference on a batch."""
    started = time.perf_counter()
    probabilities = batch.snapshot.predict(batch.pixels)
    return BatchResult(probabilities, started, time.perf_counter() - started)


def without_done(batch: Batch, result: BatchResult) -> tuple[Batch, BatchResult]:
    """Remove the requests that were passed to the application in the meantime."""
    rows = [row for row, request in enumerate(batch.requests) if not request.is_done]
    if len(rows) == len(batch.requests):
        return batch, result
    requests, glyphs = [batch.requests[row] for row in rows], [batch.glyphs[row] for row in rows]
    return make_batch(batch.snapshot, requests, glyphs), replace(result, probabilities=result.probabilities[rows])


class InferenceThread:
    """Computes batches in one thread. Call its methods from the event loop.

    Queued batches of a version are merged: a large network needs no more time for eight images than for one.
    """

    def __init__(self, on_done: Callable[[], object]) -> None:
        """The thread starts with the first batch. The event loop calls `on_done` after each batch."""
        self._on_done = on_done
        self._thread = ThreadPoolExecutor(1, "inference")
        self._queue: deque[Batch] = deque()
        self._running: tuple[Batch, Future[BatchResult]] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of images is queued."""
        return sum(len(batch.requests) for batch in self._queue) >= _MAX_QUEUED_IMAGES

    def add(self, batch: Batch) -> None:
        """Queue a batch, merged with a queued one of its version if possible. Call `start_next` afterwards."""
        for index, other in enumerate(self._queue):
            if other.snapshot is batch.snapshot and len(other.requests) + len(batch.requests) <= MAX_BATCH_IMAGES:
                requests, glyphs = [*other.requests, *batch.requests], [*other.glyphs, *batch.glyphs]
                self._queue[index] = make_batch(batch.snapshot, requests, glyphs)
                return
        self._queue.append(batch)

    def start_next(self) -> None:
        """Start the oldest batch, unless one is running."""
        if self._running or not self._queue:
            return
        loop = asyncio.get_running_loop()
        future = self._thread.submit(compute, self._queue[0])
        self._running = self._queue.popleft(), future

        def notify(_: Future[BatchResult]) -> None:
            with suppress(RuntimeError):  # the event loop was closed in the meantime
                loop.call_soon_threadsafe(self._on_done)

        future.add_done_callback(notify)

    def take_done(self) -> tuple[Batch, Future[BatchResult]] | None:
        """Remove and return the batch that has finished, if any."""
        if not self._running or not self._running[1].done():
            return None
        done, self._running = self._running, None
        return done

    def clear(self) -> list[Batch]:
        """Remove and return all queued batches."""
        batches = list(self._queue)
        self._queue.clear()
        return batches
