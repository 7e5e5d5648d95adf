"""Taking jobs from their queues, by DBOS's own thread for each, but only when there is something to take.

DBOS polls: its threads cost 4 to 5 % of a core while nothing waits. Here they wait until they are woken. DBOS marks
what this uses internal.
"""

import threading
from collections.abc import Callable, Iterable

from dbos import DBOS, Queue
from dbos._queue import queue_worker_thread


class _Polling(threading.Event):
    """The stop event of a queue's thread, which between two polls waits for it: here until the next poll is due."""

    def __init__(self) -> None:
        super().__init__()
        self._due = threading.Event()

    def set(self) -> None:
        super().set()
        self._due.set()

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 -- the interval that DBOS would poll in
        self._due.wait()
        self._due.clear()
        return self.is_set()

    def poll(self) -> None:
        """Let the thread look into its queue now, and again if it is looking already."""
        self._due.set()


def stop_polling(dbos: DBOS) -> None:
    """End the threads of a launched DBOS that poll for queued, delayed and timed-out workflows."""
    for event in (*dbos.background_thread_stop_events, dbos._background_jobs_stop_event):
        event.set()


def start_dequeuing(dbos: DBOS, queues: Iterable[Queue]) -> Callable[[], None]:
    """Start a thread for each queue; give the function that lets them take what waits. DBOS ends them with itself."""
    pollings = []
    for queue in queues:
        pollings.append(polling := _Polling())
        thread = threading.Thread(target=queue_worker_thread, args=(polling, dbos, queue), daemon=True)
        dbos.background_thread_stop_events.append(polling)
        dbos._background_threads.append(thread)
        thread.start()

    def poll() -> None:
        for polling in pollings:
            polling.poll()

    return poll
