"""One poller for everybody who follows a job: it asks the database once an interval, however many there are.

A subscriber holds no queue of events. A job's record has its whole history, so whoever was slow gets the difference to
its newest state, and a reader that has stalled costs no memory.
"""

import asyncio
import copy
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable

from service.errors import Unavailable
from service.jobs.events import JobEvent, JobEventCursor
from service.jobs.job import Job
from service.jobs.queue import JobQueue

log = logging.getLogger(__name__)

Encode = Callable[[Iterable[JobEvent]], bytes]

_POLL_SECONDS = 0.3
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": ping\n\n"
_WOKEN_AT_ONCE = 4  # per turn of the event loop, so that a request waits for a few of them and not for hundreds


class _Watch:
    """A job that somebody follows: its newest state, and what most subscribers are sent of it, encoded once for all."""

    def __init__(self, job: Job, encode: Encode) -> None:
        self._encode = encode
        self.subscribers: set[asyncio.Event] = set()
        self.job: Job | None = job
        """None once its record is gone."""
        self._seen, self._seen_before = JobEventCursor(), JobEventCursor()
        self._change = encode(self._seen.new_events(job))
        self._history = self._change

    def update(self, job: Job | None) -> bool:
        """Take the newest state; return whether it differs from the one before."""
        if job == self.job:
            return False
        self.job = job
        if job:
            self._seen_before, self._seen = self._seen, copy.copy(self._seen)
            self._change, self._history = self._encode(self._seen.new_events(job)), b""
        return True

    def since(self, seen: JobEventCursor | None) -> tuple[bytes, JobEventCursor]:
        """Encode what is new for a subscriber, and give what it has seen after that; None has seen nothing yet."""
        if seen is self._seen or self.job is None:
            return b"", seen or self._seen
        if seen is self._seen_before:
            return self._change, self._seen
        if seen is None:
            self._history = self._history or self._encode(JobEventCursor().new_events(self.job))
            return self._history, self._seen
        own = copy.copy(seen)
        content = self._encode(own.new_events(self.job))
        return content, self._seen if own == self._seen else own


class JobWatcher:
    """Follows jobs for the event streams of one process; used by its event loop's thread alone."""

    def __init__(self, jobs: JobQueue, most_streams: int, draining: threading.Event) -> None:
        """Touch nothing yet. All streams end when `draining` is set."""
        self._jobs, self._most_streams, self._draining = jobs, most_streams, draining
        self._watches: dict[str, _Watch] = {}
        self._polling: asyncio.Task[None] | None = None
        self.streams = 0
        """Open event streams."""

    async def get(self, job_id: str) -> Job:
        """Find a job; the database is asked only when nobody follows it yet.

        Raises NotFound, or Unavailable when as many streams are open as may be.
        """
        if self.streams >= self._most_streams:
            raise Unavailable(f"{self.streams} event streams are open already; try again", retry_after_seconds=5)
        watch = self._watches.get(job_id)
        return watch.job if watch and watch.job else await asyncio.to_thread(self._jobs.get, job_id)

    async def subscribe(self, job: Job, last_event_id: str | None, encode: Encode) -> AsyncIterator[bytes]:
        """Give what is new about a job, encoded, until it has ended; a comment now and then while nothing is.

        `encode` must be the same for all subscribers.
        """
        seen, changed = JobEventCursor(last_event_id) if last_event_id else None, asyncio.Event()
        watch = self._watches.get(job.id)
        if watch is None:
            watch = self._watches[job.id] = _Watch(job, encode)
        watch.subscribers.add(changed)
        self.streams += 1
        try:
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._keep_polling())
            while watch.job and not self._draining.is_set():
                changed.clear()
                content, seen = watch.since(seen)
                if content:
                    yield content
                if watch.job.is_final and not changed.is_set():
                    return
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield _KEEP_ALIVE
        finally:
            self.streams -= 1
            watch.subscribers.discard(changed)
            if not watch.subscribers and self._watches.get(job.id) is watch:
                del self._watches[job.id]

    async def _keep_polling(self) -> None:
        """Ask for all jobs that are followed, until none is."""
        while self._watches:
            await asyncio.sleep(_POLL_SECONDS)
            watches = dict(self._watches)
            try:
                found = await asyncio.to_thread(self._jobs.find, [*watches])
                for job_id, watch in watches.items():
                    if watch.update(found.get(job_id)):
                        await _wake(watch)
            except Unavailable:
                pass  # it is in the log, and the database may be back the next time
            except Exception:  # of one job, say; the others are to be followed all the same
                log.exception("the jobs that are followed could not be read")
            if self._draining.is_set():
                for watch in watches.values():
                    await _wake(watch)


async def _wake(watch: _Watch) -> None:
    for number, changed in enumerate([*watch.subscribers], start=1):
        changed.set()
        if number % _WOKEN_AT_ONCE == 0:
            await asyncio.sleep(0)
