"""Pictures decoded in threads of their own: first come, first served, and only what can be done in time.

What pictures cost is known from their headers: their pixels, and a little for each. How long that takes is measured
while pictures are decoded. Requests of one picture do not wait behind batches: they have threads of their own.
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

_FIRST_SECONDS = 10e-9
"""Of a pixel, before any was measured."""
_OVERHEAD_PIXELS = 30_000
"""What a picture costs beside its pixels."""
_NEWEST = 0.1
"""The weight of the newest picture in the mean."""
_FORGET_SECONDS = 10.0
"""A measurement as old as that says nothing of now."""
_LOOK_SECONDS = 0.25
_SLACK = 1.25
"""What was admitted is given up when it would take so many times the time that is left."""


class Decoder:
    """Decodes the pictures of one application; called on its event loop."""

    def __init__(self, threads: int | None = None) -> None:
        """Start no thread before the first picture."""
        pace, threads = _Pace(), threads or os.cpu_count() or 1
        self._single, self._batches = _Queue(threads, pace), _Queue(threads, pace)

    async def decode(self, pictures: Sequence[tuple[int, Callable[[], _T]]], deadline: float) -> list[_T]:
        """Decode the pictures of a request, each given by its pixels and a function, which must not raise.

        `deadline` is a time of the event loop's clock. Raises Unavailable as soon as it is seen that they will not be
        done by then. When the caller is cancelled, those that have not been begun never are.
        """
        queue = self._batches if len(pictures) > 1 else self._single
        return await queue.decode(pictures, deadline)

    @property
    def waiting(self) -> int:
        """Count the pictures that are not decoded yet."""
        return self._single.waiting + self._batches.waiting

    @property
    def decoded(self) -> int:
        """Count the pictures that were decoded."""
        return self._single.decoded + self._batches.decoded

    def close(self) -> None:
        """Let the threads end."""
        self._single.close()
        self._batches.close()


class _Pace:
    """How long a pixel takes a thread, as it was lately."""

    def __init__(self) -> None:
        self._seconds, self._measured, self._lock = _FIRST_SECONDS, -math.inf, threading.Lock()

    def seconds(self, pixels: int) -> float:
        is_known = time.monotonic() - self._measured < _FORGET_SECONDS
        return pixels * (self._seconds if is_known else _FIRST_SECONDS)

    def measured(self, pixels: int, seconds: float) -> None:
        with self._lock:
            known = self.seconds(1)
            self._seconds = known + _NEWEST * (seconds / pixels - known)
            self._measured = time.monotonic()


@dataclass(eq=False)
class _Request:
    pixels: int
    pictures: int


class _Queue:
    """Requests in the order in which they came."""

    def __init__(self, threads: int, pace: _Pace) -> None:
        self._threads, self._pace = threads, pace
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._requests: list[_Request] = []
        self.decoded = 0

    async def decode(self, pictures: Sequence[tuple[int, Callable[[], _T]]], deadline: float) -> list[_T]:
        costs = [pixels + _OVERHEAD_PIXELS for pixels, _ in pictures]
        request, loop = _Request(sum(costs), len(costs)), asyncio.get_running_loop()
        self._requests.append(request)
        futures: list[asyncio.Future[_T]] = []
        try:
            self._check(request, deadline - loop.time())
            for cost, (_, work) in zip(costs, pictures, strict=True):
                future = loop.run_in_executor(self._pool, self._timed, cost, work)
                future.add_done_callback(partial(self._done, request, cost))
                futures.append(future)
            while (await asyncio.wait(futures, timeout=_LOOK_SECONDS))[1]:
                self._check(request, _SLACK * (deadline - loop.time()))
            return [future.result() for future in futures]
        finally:
            self._requests.remove(request)
            for future in futures:
                future.cancel()

    def _check(self, request: _Request, left: float) -> None:
        """Raise Unavailable when a request would take longer than is left, all before it counted."""
        until = self._requests.index(request) + 1
        wait = self._pace.seconds(sum(each.pixels for each in self._requests[:until])) / self._threads
        if wait > left:
            raise Unavailable(
                f"{request.pictures} images wait to be decoded, which would take about {wait:.1f} s, longer than a "
                "request may; send fewer at once, or try again",
                retry_after_seconds=max(1, min(60, math.ceil(wait - left))),
            )

    def _timed(self, cost: int, work: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        found = work()
        self._pace.measured(cost, time.perf_counter() - began)
        return found

    def _done(self, request: _Request, cost: int, future: "asyncio.Future[Any]") -> None:
        request.pixels -= cost
        request.pictures -= 1
        self.decoded += not future.cancelled()

    @property
    def waiting(self) -> int:
        return sum(request.pictures for request in self._requests)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
