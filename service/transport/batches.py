"""Requests whose images are read together: on the event loop, or beside it where the network is large."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.models.snapshot import Snapshot
from training.arrays import Floats, Pixels
from training.preprocess import SIDE

_MOST_BATCHES = 32
"""That wait for the thread; what comes then is the application's, which turns requests away when it has too many."""


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

    snapshot: Snapshot
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


def batch_of(snapshot: Snapshot, requests: Sequence[FastRequest], glyphs: Sequence[bytes]) -> Batch:
    """Put the glyphs of requests together."""
    return Batch(snapshot, requests, glyphs, np.frombuffer(b"".join(glyphs), np.uint8).reshape(-1, SIDE, SIDE))


def compute(batch: Batch) -> Computed:
    """Let the version read the glyphs."""
    started = time.perf_counter()
    probabilities = batch.snapshot.probabilities(batch.pixels)
    return Computed(probabilities, started, time.perf_counter() - started)


class ComputingThread:
    """A thread that computes batches, one after the other. It is called from the event loop."""

    def __init__(self) -> None:
        """Start nothing yet: the first batch starts the thread."""
        self._thread = ThreadPoolExecutor(1, "computing")
        self._begun: deque[tuple[Batch, Future[Computed]]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether as many batches wait as may."""
        return len(self._begun) >= _MOST_BATCHES

    def begin(self, batch: Batch, on_end: Callable[[], object]) -> None:
        """Compute a batch; the event loop calls `on_end` when that has ended."""
        loop = asyncio.get_running_loop()
        future = self._thread.submit(compute, batch)
        self._begun.append((batch, future))

        def tell(_: Future[Computed]) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(on_end)

        future.add_done_callback(tell)

    def take(self, *, wait: bool) -> tuple[Batch, Future[Computed]] | None:
        """Take the oldest batch once it has been computed, or after waiting until it has; None where there is none."""
        if not self._begun or not (wait or self._begun[0][1].done()):
            return None
        batch, future = self._begun.popleft()
        with suppress(Exception):  # raised again by who asks for the result
            future.result()
        return batch, future
