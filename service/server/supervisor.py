"""Restarts a child process when it exits."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from service.server.child_process import HEARTBEAT, HEARTBEAT_SECONDS, READY, ForkedProcess

log = logging.getLogger(__name__)

_RESTART_SECONDS = 0.5  # after a second exit in a row; the first restart is immediate
_STABLE_SECONDS = 5.0  # since it was ready
_MAX_BACKOFF_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_DUMP_SECONDS = 2.0  # for a process to dump its stacks
_REPORT_BYTES = 4096


class Supervisor:
    """Runs a child process and restarts it with exponential backoff.

    The standard input of the child is a pipe that closes when this process exits, upon which the child must exit too.
    The option `--report-fd` gives it a pipe on which to report that it is ready. The backoff is reset by a process that
    ran for a while after it was ready, because start-up times vary between machines.

    A process that has sent heartbeats on that pipe and then sends none for `stall_seconds` dumps the stacks of its
    threads and is killed. 0 disables this.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        fds: Sequence[int] = (),
        *,
        stall_seconds: float = 0.0,
        on_ready: Callable[[], object] = bool,
        gives_up: Callable[[int, bool], bool] = lambda _code, _was_ready: False,
        first: ForkedProcess | None = None,
    ) -> None:
        """Start `glyphserve` with arguments, additional settings, and file descriptors to inherit.

        `on_ready` is called whenever the child becomes ready. `gives_up` receives each exit code and whether the child
        has ever been ready; the child is not restarted if it returns true. `first` is a child that runs already.
        """
        self._name, self._arguments, self._fds = name, list(arguments), list(fds)
        self._environment = os.environ | {f"GLYPHSERVE_{key}": value for key, value in settings.items()}
        self._stall_seconds, self._on_ready, self._gives_up = stall_seconds, on_ready, gives_up
        self._stopping, self._starting = threading.Event(), threading.Lock()
        self._was_ready = False
        self._process, self._status_fd = (first, first.status_fd) if first else self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> "tuple[subprocess.Popen[bytes] | ForkedProcess, int]":
        status_fd, report_fd = os.pipe()
        # A new session: Ctrl-C in the terminal reaches only the parent, which then stops its children.
        process = subprocess.Popen(  # noqa: S603 -- the command is our own
            [sys.executable, "-P", "-m", "service", *self._arguments, "--report-fd", str(report_fd)],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[*self._fds, report_fd],
        )
        os.close(report_fd)
        return process, status_fd

    def _watch(self) -> None:
        backoff = 0.0
        while True:
            is_stable = self._listen()
            code = self._process.wait()
            self._close_pipes()
            if self._stopping.is_set() or self._gives_up(code, self._was_ready):
                return
            backoff = 0.0 if is_stable else backoff
            log.error("%s exited with code %d; restarting in %.1f s", self._name, code, backoff)
            if self._stopping.wait(backoff):
                return
            backoff = min(max(2 * backoff, _RESTART_SECONDS), _MAX_BACKOFF_SECONDS)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process, self._status_fd = self._start()

    def _listen(self) -> bool:
        """Read the reports until the process exits. Return whether it was ready and then ran for a while."""
        ready_at, silent_seconds = 0.0, None
        while True:
            # Silence is counted in polls, not by the clock: after the machine was suspended, it is one poll.
            timeout = None if silent_seconds is None else HEARTBEAT_SECONDS
            readable, _, _ = select.select([self._status_fd], [], [], timeout)
            received = os.read(self._status_fd, _REPORT_BYTES) if readable else HEARTBEAT
            if not received:
                return bool(ready_at) and time.monotonic() - ready_at > _STABLE_SECONDS
            if READY in received:
                ready_at, self._was_ready = time.monotonic(), True
                self._on_ready()
            if readable and HEARTBEAT in received and self._stall_seconds:
                silent_seconds = 0.0
            elif silent_seconds is not None and not readable and not self._stopping.is_set():
                silent_seconds += HEARTBEAT_SECONDS
                if silent_seconds >= self._stall_seconds:
                    self._kill_stalled()
                    silent_seconds = None

    def _kill_stalled(self) -> None:
        log.critical(
            "%s: the event loop has been blocked for %g s (GLYPHSERVE_STALL_SECONDS); the process dumps the stacks of "
            "its threads and is killed",
            self._name,
            self._stall_seconds,
        )
        self._process.send_signal(signal.SIGUSR1)
        self._stopping.wait(_DUMP_SECONDS)
        self._process.send_signal(signal.SIGKILL)

    def _close_pipes(self) -> None:
        os.close(self._status_fd)
        if self._process.stdin:
            self._process.stdin.close()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process and do not restart it."""
        with self._starting:
            self._stopping.set()
            self._process.send_signal(number)

    def join(self, seconds: float) -> None:
        """Wait until the process exits; kill it after so many seconds."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._process.send_signal(signal.SIGKILL)
            self._thread.join(_JOIN_SECONDS)
