"""Waking the workers of this host when a job is queued, so that none of them has to poll for it.

    workers/<number>.wakeup    in the home folder: a named pipe, read by the worker that holds <number>.lock

Whoever queues a job writes a byte into each pipe. A lost one costs seconds and no job: workers look for jobs now and
then all the same, as those of other hosts must.
"""

import os
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".wakeup"


def open_wakeup(workers: Path, number: int) -> int | None:
    """Make the pipe of the worker that holds this number's lock; answer the file number to read it by.

    None on a file system that has no pipes.
    """
    path = workers / f"{number}{_SUFFIX}"
    try:
        path.unlink(missing_ok=True)  # whatever it is: a restored backup may have left a file
        os.mkfifo(path, 0o600)
        return os.open(
            path, os.O_RDWR | os.O_NONBLOCK
        )  # also to write, else it would be at its end between two writers
    except OSError:
        return None


def wake_workers(home: Path) -> None:
    """Wake the workers that have this home folder on this host. Never blocks, never fails."""
    for path in (home / "workers").glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # nobody reads it, or it is full: then that worker is about to look anyway
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b".")
            finally:
                os.close(pipe)
