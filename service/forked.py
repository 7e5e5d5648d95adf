"""A copy of this process: what has been imported need not be imported again."""

import logging
import os
import sys

from service.heartbeats import CHECKED


class Forked:
    """A child that `fork` made, for who started it; it offers what a supervisor needs of `subprocess.Popen`."""

    def __init__(self, pid: int, stdin: int, hearing: int) -> None:
        """Keep its id, the pipe that is its standard input, and the one on which it reports."""
        self.pid, self.hearing = pid, hearing
        self.stdin = os.fdopen(stdin, "wb")
        self.returncode: int | None = None

    def has_checked(self) -> bool:
        """Wait until it reports that it may start, or ends."""
        return os.read(self.hearing, len(CHECKED)) == CHECKED

    def wait(self) -> int:
        """Wait for its end; answer its exit code, or minus the number of the signal that ended it."""
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


def fork() -> Forked | int:
    """Fork; answer the child to its parent, and to the child the file number on which it reports.

    To be called while there is one thread. The child's standard input closes with its parent. It has a session of its
    own: Ctrl-C in the terminal reaches the parent alone, which then ends the others.
    """
    reading, stdin = os.pipe()
    hearing, telling = os.pipe()
    sys.stdout.flush()
    for handler in logging.root.handlers:
        handler.flush()  # so that no thread of theirs is about to write
    if pid := os.fork():
        os.close(reading)
        os.close(telling)
        return Forked(pid, stdin, hearing)
    os.setsid()
    os.dup2(reading, sys.stdin.fileno() if sys.stdin else 0)
    for number in (reading, stdin, hearing):
        os.close(number)
    return telling
