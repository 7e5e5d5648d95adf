"""A forked child process, and the pipe on which children report to their supervisor."""

import asyncio
import logging
import os
import sys
from contextlib import suppress

CHECKED, READY, HEARTBEAT = b"c", b"r", b"."
"""Reports: the start-up checks passed, the process is ready, the event loop is running."""
HEARTBEAT_SECONDS = 1.0


def report(fd: int, message: bytes) -> None:
    """Write a report without blocking; it is dropped if the pipe is full or closed."""
    os.set_blocking(fd, False)
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(fd, message)


def send_heartbeats(fd: int) -> None:
    """Report a heartbeat now and every second while the running event loop runs."""
    report(fd, HEARTBEAT)
    asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, send_heartbeats, fd)


class ForkedProcess:
    """A child created by `fork`, with the part of `subprocess.Popen` that `Supervisor` uses."""

    def __init__(self, pid: int, stdin: int, status_fd: int) -> None:
        """`stdin` is the write end of the child's standard input, `status_fd` the read end of its reports."""
        self.pid, self.status_fd = pid, status_fd
        self.stdin = os.fdopen(stdin, "wb")
        self.returncode: int | None = None

    def wait_until_checked(self) -> bool:
        """Wait until the child has passed its start-up checks; False if it exited instead."""
        return os.read(self.status_fd, len(CHECKED)) == CHECKED

    def wait(self) -> int:
        """Wait until the child exits. Return its exit code, or minus the number of the signal that killed it."""
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child has exited."""
        if self.returncode is None:
            os.kill(self.pid, number)


def fork() -> ForkedProcess | int:
    """Fork. Return the child in the parent, and the file descriptor for reports in the child.

    The process must have one thread. A fork saves the child the imports. Its standard input closes when the parent
    exits. It has its own session, so that Ctrl-C reaches only the parent, which then stops its children.
    """
    stdin_read, stdin_write = os.pipe()
    status_fd, report_fd = os.pipe()
    sys.stdout.flush()
    for handler in logging.root.handlers:
        handler.flush()  # so that no log thread is about to write
    if pid := os.fork():
        os.close(stdin_read)
        os.close(report_fd)
        return ForkedProcess(pid, stdin_write, status_fd)
    os.setsid()
    os.dup2(stdin_read, sys.stdin.fileno() if sys.stdin else 0)
    for fd in (stdin_read, stdin_write, status_fd):
        os.close(fd)
    return report_fd
