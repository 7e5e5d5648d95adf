"""Decodes images in threads, first come, first served, and rejects requests that would miss their deadline.

The cost of an image is known from its header: its pixels plus a constant. How long that takes is measured continuously.
Requests with one image have threads of their own, so that they do not wait behind batches.
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from service.errors import Unavailable

_T = TypeVar("_T")

_INITIAL_SECONDS_PER_PIXEL = 10e-9
_OVERHEAD_PIXELS = 30_000
"""The constant cost of an image, in pixels."""
_SMOOTHING = 0.1
"""The weight of the newest measurement in the moving average."""
_MAX_AGE_SECONDS = 10.0
"""Older measurements are discarded."""
_POLL_SECONDS = 0.25
_TOLERANCE = 1.25
"""A request that was accepted is aborted when its estimate exceeds the remaining time by this factor."""


class Decoder:
    """The decoder threads of one application. Call its methods from the event loop."""

    def __init__(self, threads: int | None = None) -> None:
        """Use so many threads, by default one for each CPU. They start with the first image."""
        speed, threads = _Speed(), threads or os.cpu_count() or 1
        self._single, self._batches = _Queue(threads, speed), _Queue(threads, speed)

    async def decode(self, images: Sequence[tuple[int, Callable[[], _T]]], deadline: float) -> list[_T]:
        """Decode the images of a request, given as (pixels, function). The functions must not raise.

        `deadline` is a time of the event loop's clock. Raises Unavailable as soon as the estimate exceeds it. If the
        caller is cancelled, images that have not been started are skipped.
        """
        queue = self._batches if len(images) > 1 else self._single
        return await queue.decode(images, deadline)

    @property
    def waiting(self) -> int:
        """The number of images that are queued or being decoded."""
        return self._single.waiting + self._batches.waiting

    @property
    def decoded(self) -> int:
        """The number of images decoded so far."""
        return self._single.decoded + self._batches.decoded

    def close(self) -> None:
        """Stop the threads."""
        self._single.close()
        self._batches.close()


class _Speed:
    """Moving average of the decoding time per pixel. Thread-safe."""

    def __init__(self) -> None:
        self._seconds, self._measured_at, self._lock = _INITIAL_SECONDS_PER_PIXEL, -math.inf, threading.Lock()

    def estimate(self, pixels: int) -> float:
        is_recent = time.monotonic() - self._measured_at < _MAX_AGE_SECONDS
        return pixels * (self._seconds if is_recent else _INITIAL_SECONDS_PER_PIXEL)

    def update(self, pixels: int, seconds: float) -> None:
        with self._lock:
            average = self.estimate(1)
            self._seconds = average + _SMOOTHING * (seconds / pixels - average)
            self._measured_at = time.monotonic()


@dataclass(eq=False)
class _Request:
    pixels: int
    images: int


class _Queue:
    """Requests in order of arrival."""

    def __init__(self, threads: int, speed: _Speed) -> None:
        self._threads, self._speed = threads, speed
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._requests: list[_Request] = []
        self.decoded = 0

    async def decode(self, images: Sequence[tuple[int, Callable[[], _T]]], deadline: float) -> list[_T]:
        costs = [pixels + _OVERHEAD_PIXELS for pixels, _ in images]
        request, loop = _Request(sum(costs), len(costs)), asyncio.get_running_loop()
        self._requests.append(request)
        futures: list[asyncio.Future[_T]] = []
        try:
            self._check(request, deadline - loop.time())
            for cost, (_, decode) in zip(costs, images, strict=True):
                future = loop.run_in_executor(self._pool, self._timed, cost, decode)
                future.add_done_callback(partial(self._on_done, request, cost))
                futures.append(future)
            while (await asyncio.wait(futures, timeout=_POLL_SECONDS))[1]:
                self._check(request, _TOLERANCE * (deadline - loop.time()))
            return [future.result() for future in futures]
        finally:
            self._requests.remove(request)
            for future in futures:
                future.cancel()

    def _check(self, request: _Request, remaining: float) -> None:
        """Raise Unavailable if the request and all requests before it would take longer than the remaining time."""
        until = self._requests.index(request) + 1
        wait = self._speed.estimate(sum(each.pixels for each in self._requests[:until])) / self._threads
        if wait > remaining:
            raise Unavailable(
                f"decoding {request.images} images would take about {wait:.1f} s, longer than the time limit of a "
                "request; send fewer at once, or try again",
                retry_after_seconds=max(1, min(60, math.ceil(wait - remaining))),
            )

    def _timed(self, cost: int, decode: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        decoded = decode()
        self._speed.update(cost, time.perf_counter() - started)
        return decoded

    def _on_done(self, request: _Request, cost: int, future: "asyncio.Future[Any]") -> None:
        request.pixels -= cost
        request.images -= 1
        self.decoded += not future.cancelled()

    @property
    def waiting(self) -> int:
        return sum(request.images for request in self._requests)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
