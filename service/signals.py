"""Shutdown signal handling."""

import os
import select
import signal
import sys
from collections.abc import Callable


def shutdown_waiter(
    *, at_end_of_input: bool = False, woken_by: int | None = None
) -> Callable[[float | None], int | None]:
    """Catch SIGTERM and SIGINT. Return a function that waits up to some seconds and returns the signal number, or None.

    With `at_end_of_input`, the end of standard input counts as SIGTERM: the parent has exited. Data on the file
    descriptor `woken_by` ends a wait early and is read. Call this from the main thread.

    The handlers do nothing; the wakeup pipe does. A handler that takes a lock could deadlock with the thread that it
    interrupts, and a signal delivered to another thread would not wake this one.
    """
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    inputs = [sys.stdin.fileno()] if at_end_of_input else []
    wakeups = [woken_by] if woken_by is not None else []

    def wait(seconds: float | None = None) -> int | None:
        ready, _, _ = select.select([wakeup_read, *inputs, *wakeups], [], [], seconds)
        if wakeup_read in ready:
            received = os.read(wakeup_read, 1)[0]
            return received if received in (signal.SIGTERM, signal.SIGINT) else None
        if any(source in ready and not os.read(source, 4096) for source in inputs):
            return signal.SIGTERM
        for source in wakeups:
            if source in ready:
                os.read(source, 4096)
        return None

    return wait
