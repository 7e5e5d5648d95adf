"""One or several API processes behind one port.

The parent opens a listening socket for each process, all bound to the same address; the kernel distributes connections
(SO_REUSEPORT). The sockets outlive a process that exits: new connections wait until its replacement accepts them.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial

from service.observability.shared_memory import SharedPages
from service.server.child_process import ForkedProcess
from service.server.supervisor import Supervisor
from service.settings import Settings
from service.signals import shutdown_waiter

_BACKLOG = 2048
_GRACE_SECONDS = 5.0


class ProcessGroup:
    """The API processes, supervised by their parent."""

    def __init__(
        self, settings: Settings, sockets: Sequence[socket.socket], pages: SharedPages, first: ForkedProcess
    ) -> None:
        """Supervise the first process and start the others."""
        self._settings, self._sockets, self._pages = settings, sockets, pages
        self._unready, self._lock = set(range(settings.processes)), threading.Lock()
        self._exit_code = 0
        self._wait = shutdown_waiter()
        self._children = [self._start(number, None if number else first) for number in range(settings.processes)]

    def _start(self, number: int, first: ForkedProcess | None) -> Supervisor:
        settings, (host, port) = self._settings, self._sockets[0].getsockname()[:2]
        changed = {
            "HOME": settings.home.absolute(),
            "HOST": settings.host,
            "PORT": port,
            "PROCESSES": settings.processes,
        }
        inherited = (self._sockets[number].fileno(), self._pages.fd)
        return Supervisor(
            f"API process {number}",
            ["api", *map(str, (number, *inherited))],
            {name: str(value) for name, value in changed.items()},
            inherited,
            stall_seconds=settings.stall_seconds,
            on_ready=partial(self._on_ready, number, host, port),
            gives_up=self._gives_up,
            first=first,
        )

    def _on_ready(self, number: int, host: str, port: int) -> None:
        """Print the banner once all processes are ready. Restarted processes report again, and are ignored."""
        with self._lock:
            was_unready = bool(self._unready)
            self._unready.discard(number)
            if was_unready and not self._unready:
                sys.stdout.write(startup_banner(host, port))
                sys.stdout.flush()

    def _gives_up(self, code: int, was_ready: bool) -> bool:
        """Shut down if the first start fails, or if the only process exits without an error."""
        has_finished = code == 0 and self._settings.processes == 1
        if code < 0 or (was_ready and not has_finished):
            return False
        self._exit_code = code
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    def wait(self, finish_seconds: float) -> int:
        """Wait for SIGTERM or SIGINT, drain all processes, and return the exit code."""
        while (received := self._wait(None)) is None:
            pass
        for listener in self._sockets:
            listener.close()  # the processes have their own copies, which they close after draining
        for child in self._children:
            child.stop(received)
        for child in self._children:
            child.join(self._settings.drain_seconds + finish_seconds + _GRACE_SECONDS)
        return self._exit_code


def bind_reuseport_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """Open `count` sockets that listen on one address. Raises OSError if the address is in use."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    probe = socket.socket(family, kind, protocol)
    with probe:  # without SO_REUSEPORT, which would also succeed beside another service that uses it
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        address = probe.getsockname()
    sockets = []
    for _ in range(count):
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.set_inheritable(True)
        sockets.append(listener)
    return sockets


def url(host: str, port: int) -> str:
    """Return the URL of an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def startup_banner(host: str, port: int) -> str:
    """Return the message that is printed when the service is ready."""
    address = url(host, port)
    return (
        f"glyphserve is ready at {address}\n"
        f"  draw a digit     {address}/\n"
        f"  predict a file   curl -F file=@digit.png {address}/predict\n"
        f"  train            curl -X POST {address}/train\n"
        f"  API reference    {address}/docs\n"
    )
