"""A log handler that never blocks its caller.

A write to a pipe blocks once the pipe is full and its reader has stopped, as a terminal or `docker logs` can. In the
thread of the event loop, or of its watchdog, that would stop the service: so a background thread writes.
"""

import logging
import os
import queue
import threading

_MAX_QUEUED_LINES = 10_000
_FLUSH_TIMEOUT_SECONDS = 2.0


class BackgroundHandler(logging.Handler):
    """Writes lines to a file descriptor in a background thread.

    While 10,000 lines are queued, further ones are dropped; the log says how many.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to an open file; the thread starts with the first line."""
        super().__init__()
        self._descriptor = descriptor
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the parent writes what is queued now

    def _reset(self) -> None:
        self._lines = queue.Queue[str](_MAX_QUEUED_LINES)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record, here where its request or job is known, and queue the line."""
        try:
            line = self.format(record)
        except Exception:  # as in logging.StreamHandler: a wrong log call does not end its caller
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
                text += f"{self._dropped_message(dropped - reported)}\n"
                reported = dropped
            content = text.encode(errors="backslashreplace")
            try:
                # Not by `sys.stderr`: at exit Python takes its lock, which a write that blocks would hold.
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError:  # the reader has closed the pipe
                pass
            finally:
                lines.task_done()

    def _dropped_message(self, count: int) -> str:
        text = "%d log lines were dropped: the log was not read, or too slowly"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None))

    def flush(self) -> None:
        """Wait until all lines are written, for at most 2 seconds; `logging.shutdown` calls this at exit."""
        lines = self._lines
        with lines.all_tasks_done:
            lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, _FLUSH_TIMEOUT_SECONDS)
