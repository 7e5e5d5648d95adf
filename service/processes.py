"""The API processes behind one port, one or several.

The parent has a listening socket for each of them, all bound to the same address, and the kernel shares connections out
(SO_REUSEPORT). The sockets outlive a process that dies: who connects meanwhile waits until its successor accepts.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial

from service.ending import listen_for_the_end
from service.forked import Forked
from service.observability.board import Board
from service.settings import Settings
from service.supervisor import Supervisor

_BACKLOG = 2048
_GRACE_SECONDS = 5.0


class Processes:
    """The API processes as their parent sees them."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], board: Board, first: Forked) -> None:
        """Watch the first, start the others, and say where they listen when all are ready."""
        self._settings, self._sockets, self._board = settings, sockets, board
        self._unready, self._lock = set(range(settings.processes)), threading.Lock()
        self._exit_code = 0
        self._wait = listen_for_the_end()
        self._children = [self._start(place, None if place else first) for place in range(settings.processes)]

    def _start(self, place: int, first: Forked | None) -> Supervisor:
        settings, (host, port) = self._settings, self._sockets[0].getsockname()[:2]
        own = {"HOME": settings.home.absolute(), "HOST": settings.host, "PORT": port, "PROCESSES": settings.processes}
        inherited = (self._sockets[place].fileno(), self._board.file_number)
        return Supervisor(
            f"API process {place}",
            ["api", *map(str, (place, *inherited))],
            {name: str(value) for name, value in own.items()},
            inherited,
            stall_seconds=settings.stall_seconds,
            on_ready=partial(self._hear, place, host, port),
            gives_up=self._gives_up,
            first=first,
        )

    def _hear(self, place: int, host: str, port: int) -> None:
        """Say where the service listens once each process is ready; restarted ones report again."""
        with self._lock:
            was_unready = bool(self._unready)
            self._unready.discard(place)
            if was_unready and not self._unready:
                sys.stdout.write(announcement(host, port))
                sys.stdout.flush()

    def _gives_up(self, code: int, was_ready: bool) -> bool:
        """End the service when it cannot start, or when its one process has ended in good order."""
        has_ended = code == 0 and self._settings.processes == 1
        if code < 0 or (was_ready and not has_ended):
            return False
        self._exit_code = code
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    def wait(self, finish_seconds: float) -> int:
        """Wait for SIGTERM or SIGINT, let all drain, and answer the exit code."""
        while (received := self._wait(None)) is None:
            pass
        for listener in self._sockets:
            listener.close()  # the processes have their own, and close them when they have drained
        for child in self._children:
            child.ask_to_end(received)
        for child in self._children:
            child.wait(self._settings.drain_seconds + finish_seconds + _GRACE_SECONDS)
        return self._exit_code


def listening(host: str, port: int, count: int) -> list[socket.socket]:
    """Listen on an address with so many sockets. Raises OSError when it is taken."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    probe = socket.socket(family, kind, protocol)
    with probe:  # alone: a socket that shares would join those of another service that shares
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
    """Write an address as browsers take it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announcement(host: str, port: int) -> str:
    """Say where the service listens."""
    address = url(host, port)
    return (
        f"glyphserve is ready at {address}\n"
        f"  draw a digit   {address}/\n"
        f"  read a file    curl -F file=@digit.png {address}/predict\n"
        f"  train          curl -X POST {address}/train\n"
        f"  everything     {address}/docs\n"
    )
