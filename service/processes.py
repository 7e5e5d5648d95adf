"""Several API processes behind one port.

The parent has a listening socket for each of them, all bound to the same address, and the kernel shares connections out
(SO_REUSEPORT). The sockets outlive a process that dies: who connects meanwhile waits until its successor accepts.
"""

import os
import socket
import sys
import threading
from contextlib import suppress

from service.ending import listen_for_the_end
from service.observability.board import Board
from service.settings import Settings
from service.supervisor import Supervisor

_BACKLOG = 2048
_GRACE_SECONDS = 5.0


def run_processes(settings: Settings, *, finish_seconds: float) -> None:
    """Keep as many API processes as the settings say until SIGTERM or SIGINT, then let them drain. Raises OSError."""
    wait = listen_for_the_end()
    sockets = listening(settings.host, settings.port, settings.processes)
    board = Board.make(settings.processes)
    hearing, telling = os.pipe()
    host, port = sockets[0].getsockname()[:2]
    own = {"HOME": str(settings.home.absolute()), "HOST": settings.host, "PORT": str(port)}
    own["PROCESSES"] = str(settings.processes)
    children = []
    for place, listener in enumerate(sockets):
        inherited = (listener.fileno(), board.file_number, telling)
        arguments = ["api", *map(str, (place, *inherited))]
        children.append(Supervisor(f"API process {place}", arguments, own, inherited))
    threading.Thread(target=_announce, args=(hearing, len(children), host, port), daemon=True).start()
    while (received := wait(None)) is None:
        pass
    for listener in sockets:
        listener.close()  # the processes have their own, and close them when they have drained
    for child in children:
        with suppress(ProcessLookupError):
            child.ask_to_end(received)
    for child in children:
        child.wait(settings.drain_seconds + finish_seconds + _GRACE_SECONDS)


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


def announcement(host: str, port: int) -> str:
    """Say where the service listens."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return (
        f"glyphserve is ready at {url}\n"
        f"  draw a digit   {url}/\n"
        f"  read a file    curl -F file=@digit.png {url}/predict\n"
        f"  train          curl -X POST {url}/train\n"
        f"  everything     {url}/docs\n"
    )


def _announce(hearing: int, count: int, host: str, port: int) -> None:
    """Say where the service listens once each process has said that it does; restarted ones say so again."""
    for _ in range(count):
        os.read(hearing, 1)
    sys.stdout.write(announcement(host, port))
    sys.stdout.flush()
    while os.read(hearing, 64):
        pass
