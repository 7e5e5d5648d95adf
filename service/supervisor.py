"""A process that is kept running."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

_RESTART_SECONDS = 0.5  # after a second death in a row; after the first it starts again at once
_STABLE_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 60.0
_JOIN_SECONDS = 5.0


class Supervisor:
    """Starts a process again when it ends, and waits longer and longer with one that keeps dying.

    Its standard input is a pipe that closes with this process: it is to end then, too.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], settings: Mapping[str, str], file_numbers: Sequence[int] = ()
    ) -> None:
        """Start `glyphserve` with arguments, with settings beside those of this process, and open files to inherit."""
        self._name, self._arguments, self._file_numbers = name, arguments, file_numbers
        self._environment = os.environ | {f"GLYPHSERVE_{key}": value for key, value in settings.items()}
        self._stopping, self._starting = threading.Event(), threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal reaches the parent alone, which then ends the others.
        return subprocess.Popen(  # noqa: S603 -- our own command
            [sys.executable, "-m", "service", *self._arguments],
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
            wait = 0.0 if time.monotonic() - started > _STABLE_SECONDS else wait
            sys.stderr.write(f"{self._name} ended with code {code}; it starts again in {wait:.1f} s\n")
            if self._stopping.wait(wait):
                return
            wait = min(max(2 * wait, _RESTART_SECONDS), _LONGEST_WAIT_SECONDS)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process = self._start()

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
