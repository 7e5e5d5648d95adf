"""How a process learns that it is to end."""

import os
import select
import signal
import sys
from collections.abc import Callable


def listen_for_the_end(
    *, at_end_of_input: bool = False, woken_by: int | None = None
) -> Callable[[float | None], int | None]:
    """Catch SIGTERM and SIGINT; give a function that waits so many seconds for one and answers its number, or None.

    With `at_end_of_input` the end of standard input counts as SIGTERM: whoever started this process is gone. What can
    be read from the file number `woken_by` ends a wait early, and is read. To be called from the main thread. The
    handlers do nothing: one that took a lock could wait for the very thread that it has interrupted, and a signal that
    reaches another thread would not wake this one. The pipe does.
    """
    waiting, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    inputs = [sys.stdin.fileno()] if at_end_of_input else []
    wakeups = [woken_by] if woken_by is not None else []

    def wait(seconds: float | None = None) -> int | None:
        ready, _, _ = select.select([waiting, *inputs, *wakeups], [], [], seconds)
        if waiting in ready:
            received = os.read(waiting, 1)[0]
            return received if received in (signal.SIGTERM, signal.SIGINT) else None
        if any(source in ready and not os.read(source, 4096) for source in inputs):
            return signal.SIGTERM
        for source in wakeups:
            if source in ready:
                os.read(source, 4096)
        return None

    return wait
