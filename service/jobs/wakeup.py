"""Waking the workers of this host when a job is queued, so that they need not poll for it.

    workers/<number>.wakeup    in the home folder: a named pipe, read by the worker that holds <number>.lock

The process that queues a job writes a byte into each pipe. A lost byte delays a job by seconds: workers also check for
jobs regularly, since workers on other hosts have no pipe.
"""

import os
from contextlib import suppress
from pathlib import Path

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
