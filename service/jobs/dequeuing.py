"""Dequeuing of jobs by DBOS's queue threads, on demand instead of by polling.

DBOS polls its queues, which costs 4 to 5 % of a core while they are empty. Here its threads wait until they are woken.
DBOS marks what this module uses as internal.
"""

import threading
from collections.abc import Callable, Iterable

from dbos import DBOS, Queue
from dbos._queue import queue_worker_thread


class _PollEvent(threading.Event):
    """The stop event of a queue thread, which waits for it between two polls; here until the next `poll`."""

    def __init__(self) -> None:
        super().__init__()
        self._due = threading.Event()

    def set(self) -> None:
        super().set()
        self._due.set()

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 -- the polling interval of DBOS
        self._due.wait()
        self._due.clear()
        return self.is_set()

    def poll(self) -> None:
        """Make the thread check its queue; if it is checking already, once more."""
        self._due.set()


def stop_polling(dbos: DBOS) -> None:
    """Stop the threads of a launched DBOS that poll for queued, delayed and timed-out workflows."""
    for event in (*dbos.background_thread_stop_events, dbos._background_jobs_stop_event):
        event.set()


def start_dequeuing(dbos: DBOS, queues: Iterable[Queue]) -> Callable[[], None]:
    """Start a thread per queue, which DBOS stops when it is destroyed; return a function that makes them dequeue."""
    events = []
    for queue in queues:
        events.append(event := _PollEvent())
        thread = threading.Thread(target=queue_worker_thread, args=(event, dbos, queue), daemon=True)
        dbos.background_thread_stop_events.append(event)
        dbos._background_threads.append(thread)
        thread.start()

    def poll() -> None:
        for event in events:
            event.poll()

    return poll
