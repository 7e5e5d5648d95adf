"""Dequeuing of jobs on demand: workers are woken when a job is queued, instead of polling.

    workers/<number>.wakeup    in the home folder: a named pipe, read by the worker that holds <number>.lock

The process that queues a job writes a byte into the pipe of each worker on its host. A lost byte delays a job by
seconds: workers also check for jobs regularly, since workers on other hosts have no pipe.

DBOS polls its queues, which costs 4 to 5 % of a core while they are empty. Here its queue threads wait until they are
woken. DBOS marks what this module uses as internal.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbos import DBOS, Queue

_SUFFIX = ".wakeup"


def open_wakeup(workers: Path, number: int) -> int | None:
    """Create the pipe of the worker with this number; return the file descriptor to read.

    None on a file system without named pipes.
    """
    path = workers / f"{number}{_SUFFIX}"
    try:
        path.unlink(missing_ok=True)  # of any type: a restored backup may contain a regular file
        os.mkfifo(path, 0o600)
        # Read-write, since a read-only pipe reports end of file whenever it has no writer.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None


def wake_workers(home: Path) -> None:
    """Wake the workers on this host that use this home folder. Never blocks or raises."""
    for path in (home / "workers").glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # no reader, or full: then that worker is about to check for jobs anyway
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b".")
            finally:
                os.close(pipe)


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


def stop_polling(dbos: "DBOS") -> None:
    """Stop the threads of a launched DBOS that poll for queued, delayed and timed-out workflows."""
    for event in (*dbos.background_thread_stop_events, dbos._background_jobs_stop_event):
        event.set()


def start_dequeuing(dbos: "DBOS", queues: "Iterable[Queue]") -> Callable[[], None]:
    """Start a thread per queue, which DBOS stops when it is destroyed; return a function that makes them dequeue."""
    from dbos._queue import queue_worker_thread

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
