"""Threads that work beside the event loop."""

import os
import sys
import threading

_NICENESS = 15


def lower_priority() -> None:
    """Let the event loop go first on a processor that it shares with this thread; Linux alone gives threads priorities.

    A thread cannot take its priority back without privileges, so this is for threads that do nothing else.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
