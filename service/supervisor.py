"""A process that is kept running."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from service.forked import Forked
from service.heartbeats import HEARTBEAT, HEARTBEAT_SECONDS, READY

log = logging.getLogger(__name__)

_RESTART_SECONDS = 0.5  # after a second death in a row; after the first it starts again at once
_STABLE_SECONDS = 5.0  # after it was ready
_LONGEST_WAIT_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_STACKS_SECONDS = 2.0  # for a process to write its stacks
_REPORT_BYTES = 4096


class Supervisor:
    """Starts a process again when it ends, and waits longer and longer with one that keeps dying.

    Its standard input is a pipe that closes with this process: it is to end then, too. It gets the option
    `--report-fd`, a pipe on which it reports that it is ready: the wait is reset by a process that went on for a while
    after that, since how long it takes to be ready depends on the machine.

    A process that sends heartbeats on that pipe, and then none for `stall_seconds`, writes the stacks of its threads
    and is killed. 0 switches that off.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        file_numbers: Sequence[int] = (),
        *,
        stall_seconds: float = 0.0,
        on_ready: Callable[[], object] = bool,
        gives_up: Callable[[int, bool], bool] = lambda _code, _was_ready: False,
        first: Forked | None = None,
    ) -> None:
        """Start `glyphserve` with arguments, with settings beside those of this process, and open files to inherit.

        `on_ready` is called each time it is ready. `gives_up` hears each exit code, and whether any start has
        succeeded, and tells whether it is not to be started again. With `first` the first process runs already.
        """
        self._name, self._arguments, self._file_numbers = name, list(arguments), list(file_numbers)
        self._environment = os.environ | {f"GLYPHSERVE_{key}": value for key, value in settings.items()}
        self._stall_seconds, self._on_ready, self._gives_up = stall_seconds, on_ready, gives_up
        self._stopping, self._starting = threading.Event(), threading.Lock()
        self._was_ready = False
        self._process, self._hearing = (first, first.hearing) if first else self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> "tuple[subprocess.Popen[bytes] | Forked, int]":
        hearing, telling = os.pipe()
        # A session of its own: Ctrl-C in the terminal reaches the parent alone, which then ends the others.
        process = subprocess.Popen(  # noqa: S603 -- our own command
            [sys.executable, "-P", "-m", "service", *self._arguments, "--report-fd", str(telling)],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[*self._file_numbers, telling],
        )
        os.close(telling)
        return process, hearing

    def _watch(self) -> None:
        wait = 0.0
        while True:
            is_stable = self._listen()
            code = self._process.wait()
            self._close_pipes()
            if self._stopping.is_set() or self._gives_up(code, self._was_ready):
                return
            wait = 0.0 if is_stable else wait
            log.error("%s ended with code %d; it starts again in %.1f s", self._name, code, wait)
            if self._stopping.wait(wait):
                return
            wait = min(max(2 * wait, _RESTART_SECONDS), _LONGEST_WAIT_SECONDS)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process, self._hearing = self._start()

    def _listen(self) -> bool:
        """Hear the process until it ends; tell whether it was ready and went on for a while."""
        ready_at, silent = 0.0, None
        while True:
            # Silence is counted in rounds: a machine that slept, and this process with it, has been silent for one.
            heard, _, _ = select.select([self._hearing], [], [], None if silent is None else HEARTBEAT_SECONDS)
            received = os.read(self._hearing, _REPORT_BYTES) if heard else HEARTBEAT
            if not received:
                return bool(ready_at) and time.monotonic() - ready_at > _STABLE_SECONDS
            if READY in received:
                ready_at, self._was_ready = time.monotonic(), True
                self._on_ready()
            if heard and HEARTBEAT in received and self._stall_seconds:
                silent = 0.0
            elif silent is not None and not heard and not self._stopping.is_set():
                silent += HEARTBEAT_SECONDS
                if silent >= self._stall_seconds:
                    self._kill_stalled()
                    silent = None

    def _kill_stalled(self) -> None:
        log.critical(
            "%s: its event loop has not turned for %g s (GLYPHSERVE_STALL_SECONDS); it writes where its threads are, "
            "and is killed",
            self._name,
            self._stall_seconds,
        )
        self._process.send_signal(signal.SIGUSR1)
        self._stopping.wait(_STACKS_SECONDS)
        self._process.send_signal(signal.SIGKILL)

    def _close_pipes(self) -> None:
        os.close(self._hearing)
        if self._process.stdin:
            self._process.stdin.close()

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, after which it is not started again."""
        with self._starting:
            self._stopping.set()
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for its end, and make it end after so many seconds."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._process.send_signal(signal.SIGKILL)
            self._thread.join(_JOIN_SECONDS)
