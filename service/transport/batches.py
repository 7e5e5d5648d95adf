"""Requests whose images are read together: on the event loop, or beside it where the network is large."""

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

MOST_IMAGES = 64
"""In one batch."""
_MOST_WAITING = 2048
"""Images that wait for the thread; what comes then is the application's, which turns away what is too much for it."""


class Caller(Protocol):
    """The connection that a request came from."""

    def reply(self, head: bytes, body: bytes) -> None:
        """Answer 200 with these headers and this body."""

    def hand_over(self, request: "FastRequest") -> None:
        """Let the application answer, unless an answer has begun to leave."""

    def abort(self) -> None:
        """End the connection at once."""


@dataclass(slots=True)
class FastRequest:
    """One request that may be answered here."""

    caller: Caller
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    started: float
    body: bytes = b""
    request_id: str = ""
    is_computed: bool = False
    """Whether a thread computes its answer."""
    is_answered: bool = False
    """Whether it is done with here: answered, or handed over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that one version reads together."""

    snapshot: ServingModel
    requests: Sequence[FastRequest]
    glyphs: Sequence[bytes]
    pixels: Pixels
    """The glyphs, uint8 (n, 28, 28)."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What a version has read."""

    probabilities: Floats
    """One row for each request, in the order of the labels."""
    started: float
    """By time.perf_counter."""
    seconds: float


def batch_of(snapshot: ServingModel, requests: Sequence[FastRequest], glyphs: Sequence[bytes]) -> Batch:
    """Put the glyphs of requests together."""
    return Batch(
        snapshot, requests, glyphs, np.frombuffer(b"".join(glyphs), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    )


def compute(batch: Batch) -> Computed:
    """Let the version read the glyphs."""
    started = time.perf_counter()
    probabilities = batch.snapshot.predict(batch.pixels)
    return Computed(probabilities, started, time.perf_counter() - started)


def without_answered(batch: Batch, computed: Computed) -> tuple[Batch, Computed]:
    """Leave out the requests that the application was given meanwhile."""
    left = [place for place, request in enumerate(batch.requests) if not request.is_answered]
    if len(left) == len(batch.requests):
        return batch, computed
    requests, glyphs = [batch.requests[place] for place in left], [batch.glyphs[place] for place in left]
    return batch_of(batch.snapshot, requests, glyphs), replace(computed, probabilities=computed.probabilities[left])


class ComputingThread:
    """A thread that computes batches, one after the other. It is called from the event loop.

    What waits for it grows together: to read eight images takes a large network no longer than to read one.
    """

    def __init__(self, on_end: Callable[[], object]) -> None:
        """Start nothing yet: the first batch starts the thread. The event loop calls `on_end` when one has ended."""
        self._on_end = on_end
        self._thread = ThreadPoolExecutor(1, "computing")
        self._waiting: deque[Batch] = deque()
        self._begun: tuple[Batch, Future[Computed]] | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many images wait as may."""
        return sum(len(batch.requests) for batch in self._waiting) >= _MOST_WAITING

    def add(self, batch: Batch) -> None:
        """Let a batch wait, together with another of its version if there is one; `begin_next` is to be called then."""
        for place, other in enumerate(self._waiting):
            if other.snapshot is batch.snapshot and len(other.requests) + len(batch.requests) <= MOST_IMAGES:
                requests, glyphs = [*other.requests, *batch.requests], [*other.glyphs, *batch.glyphs]
                self._waiting[place] = batch_of(batch.snapshot, requests, glyphs)
                return
        self._waiting.append(batch)

    def begin_next(self) -> None:
        """Begin the batch that has waited longest, unless the thread is at work."""
        if self._begun or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        future = self._thread.submit(compute, self._waiting[0])
        self._begun = self._waiting.popleft(), future

        def tell(_: Future[Computed]) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._on_end)

        future.add_done_callback(tell)

    def take(self) -> tuple[Batch, Future[Computed]] | None:
        """Take the batch that has been computed, if one has."""
        if not self._begun or not self._begun[1].done():
            return None
        taken, self._begun = self._begun, None
        return taken

    def drop(self) -> list[Batch]:
        """Give up what waits."""
        dropped = list(self._waiting)
        self._waiting.clear()
        return dropped
