"""A process that is kept running."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

_RESTART_SECONDS = 0.5  # after a second death in a row; after the first it starts again at once
_STABLE_SECONDS = 5.0  # after it was ready
_STABLE_UNREPORTED_SECONDS = 60.0  # since its start, which on a busy machine spends many of them on imports
_LONGEST_WAIT_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_REPORT_BYTES = 100


def report_ready(file_number: int) -> None:
    """Report to the supervisor that this process is ready; to be called once."""
    with os.fdopen(file_number, "w") as stream:
        stream.write(str(time.monotonic()))  # the same clock for all processes of a host


class Supervisor:
    """Starts a process again when it ends, and waits longer and longer with one that keeps dying.

    Its standard input is a pipe that closes with this process: it is to end then, too. With `reports_ready` it gets
    the option `--ready-fd` and calls `report_ready`; the wait is reset by a process that went on for a while after
    that, since how long it takes to be ready depends on the machine.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        file_numbers: Sequence[int] = (),
        *,
        reports_ready: bool = False,
    ) -> None:
        """Start `glyphserve` with arguments, with settings beside those of this process, and open files to inherit."""
        self._name, self._arguments, self._file_numbers = name, list(arguments), list(file_numbers)
        self._pipe: list[int] = [*os.pipe()] if reports_ready else []
        if self._pipe:
            os.set_blocking(self._pipe[0], False)
            self._arguments += ["--ready-fd", str(self._pipe[1])]
            self._file_numbers.append(self._pipe[1])
        self._environment = os.environ | {f"GLYPHSERVE_{key}": value for key, value in settings.items()}
        self._stopping, self._starting = threading.Event(), threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal reaches the parent alone, which then ends the others.
        return subprocess.Popen(  # noqa: S603 -- our own command
            [sys.executable, "-P", "-m", "service", *self._arguments],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=self._file_numbers,
        )

    def _watch(self) -> None:
        wait = 0.0
        while True:
            started = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            wait = 0.0 if self._was_stable(started) else wait
            sys.stderr.write(f"{self._name} ended with code {code}; it starts again in {wait:.1f} s\n")
            if self._stopping.wait(wait):
                return
            wait = min(max(2 * wait, _RESTART_SECONDS), _LONGEST_WAIT_SECONDS)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._close_input()
                self._process = self._start()

    def _close_input(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()

    def _was_stable(self, started: float) -> bool:
        """Tell whether the process that has ended had been at work for a while."""
        if not self._pipe:
            return time.monotonic() - started > _STABLE_UNREPORTED_SECONDS
        with suppress(BlockingIOError):
            return time.monotonic() - float(os.read(self._pipe[0], _REPORT_BYTES)) > _STABLE_SECONDS
        return False  # it was never ready

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, after which it is not started again."""
        with self._starting:
            self._stopping.set()
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for its end, and make it end after so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(_JOIN_SECONDS)
        self._close_input()
        while self._pipe:
            os.close(self._pipe.pop())
