"""Event streams of jobs: one poller reads the database once per interval, however many subscribers there are.

Subscribers have no event queues. A job's record contains its whole history, so a slow subscriber gets the difference to
the newest state, and a stalled one uses no memory.
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
_WAKEUP_BATCH = 4  # subscribers per iteration of the event loop, so that requests do not wait for hundreds of them


class _WatchedJob:
    """A job with subscribers: its newest state, and the last change encoded once for all of them."""

    def __init__(self, job: Job, encode: Encode) -> None:
        self._encode = encode
        self.subscribers: set[asyncio.Event] = set()
        self.job: Job | None = job
        """None once its record is deleted."""
        self._cursor, self._previous_cursor = JobEventCursor(), JobEventCursor()
        self._change = encode(self._cursor.new_events(job))
        self._history = self._change

    def update(self, job: Job | None) -> bool:
        """Set the newest state; return whether it has changed."""
        if job == self.job:
            return False
        self.job = job
        if job:
            self._previous_cursor, self._cursor = self._cursor, copy.copy(self._cursor)
            self._change, self._history = self._encode(self._cursor.new_events(job)), b""
        return True

    def encode_since(self, cursor: JobEventCursor | None) -> tuple[bytes, JobEventCursor]:
        """Encode the events after a subscriber's cursor, None for a new one; return them and its new cursor."""
        if cursor is self._cursor or self.job is None:
            return b"", cursor or self._cursor
        if cursor is self._previous_cursor:
            return self._change, self._cursor
        if cursor is None:
            self._history = self._history or self._encode(JobEventCursor().new_events(self.job))
            return self._history, self._cursor
        own = copy.copy(cursor)
        content = self._encode(own.new_events(self.job))
        return content, self._cursor if own == self._cursor else own


class JobWatcher:
    """Serves the event streams of one process. Not thread-safe; call from the event loop."""

    def __init__(self, jobs: JobQueue, max_streams: int, draining: threading.Event) -> None:
        """Limit the number of streams; all of them end when `draining` is set."""
        self._jobs, self._max_streams, self._draining = jobs, max_streams, draining
        self._watched: dict[str, _WatchedJob] = {}
        self._polling: asyncio.Task[None] | None = None
        self.streams = 0
        """Number of open event streams."""

    async def get(self, job_id: str) -> Job:
        """Return a job, from the database only if it has no subscribers.

        Raises NotFound, or Unavailable if too many streams are open.
        """
        if self.streams >= self._max_streams:
            raise Unavailable(f"{self.streams} event streams are open already; try again", retry_after_seconds=5)
        watched = self._watched.get(job_id)
        return watched.job if watched and watched.job else await asyncio.to_thread(self._jobs.get, job_id)

    async def subscribe(self, job: Job, last_event_id: str | None, encode: Encode) -> AsyncIterator[bytes]:
        """Yield the encoded events of a job until it has ended, with keep-alive comments.

        `encode` must be the same for all subscribers.
        """
        cursor, changed = JobEventCursor(last_event_id) if last_event_id else None, asyncio.Event()
        watched = self._watched.get(job.id)
        if watched is None:
            watched = self._watched[job.id] = _WatchedJob(job, encode)
        watched.subscribers.add(changed)
        self.streams += 1
        try:
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll())
            while watched.job and not self._draining.is_set():
                changed.clear()
                content, cursor = watched.encode_since(cursor)
                if content:
                    yield content
                if watched.job.is_final and not changed.is_set():
                    return
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield _KEEP_ALIVE
        finally:
            self.streams -= 1
            watched.subscribers.discard(changed)
            if not watched.subscribers and self._watched.get(job.id) is watched:
                del self._watched[job.id]

    async def _poll(self) -> None:
        """Read all jobs with subscribers, until there are none."""
        while self._watched:
            await asyncio.sleep(_POLL_SECONDS)
            all_watched = dict(self._watched)
            try:
                found = await asyncio.to_thread(self._jobs.find, [*all_watched])
                for job_id, watched in all_watched.items():
                    if watched.update(found.get(job_id)):
                        await _notify(watched)
            except Unavailable:
                pass  # logged by the database; the next poll retries
            except Exception:  # of one job, for example; the others still need updates
                log.exception("reading the jobs of event streams failed")
            if self._draining.is_set():
                for watched in all_watched.values():
                    await _notify(watched)


async def _notify(watched: _WatchedJob) -> None:
    for number, changed in enumerate([*watched.subscribers], start=1):
        changed.set()
        if number % _WAKEUP_BATCH == 0:
            await asyncio.sleep(0)
