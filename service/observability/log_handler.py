"""A log handler that never waits for whoever reads the log.

A write to a pipe blocks once the pipe is full and its reader has stopped, as a terminal or `docker logs` can. In the
thread of the event loop, or in the one that watches it, that would stop the service: so a thread of its own writes.
"""

import logging
import os
import queue
import threading
from typing import TextIO

_MAX_LINES = 10_000
_FLUSH_SECONDS = 2.0


class BackgroundHandler(logging.Handler):
    """Writes lines in a background thread; drops new ones, and logs how many, while 10,000 wait to be written."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream; the thread starts with the first line."""
        super().__init__()
        self._stream = stream
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # what is queued by then the parent writes

    def _reset(self) -> None:
        self._lines = queue.Queue[str](_MAX_LINES)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, formatted here, where its request or job is known."""
        try:
            line = self.format(record)
        except Exception:  # as other handlers do: a wrong log call does not end what called it
            self.handleError(record)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, args=[self._lines], name="log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self, lines: "queue.Queue[str]") -> None:
        reported = 0
        while True:
            text = f"{lines.get()}\n"
            if (dropped := self._dropped) > reported:
                text += f"{self._lost(dropped - reported)}\n"
                reported = dropped
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads the log any more
                pass
            finally:
                lines.task_done()

    def _lost(self, count: int) -> str:
        text = "%d log lines were dropped, since nobody read the log or too slowly"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None))

    def flush(self) -> None:
        """Wait until all lines are written, for 2 seconds at most; `logging` does at exit."""
        lines = self._lines
        with lines.all_tasks_done:
            lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, _FLUSH_SECONDS)
