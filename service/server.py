"""The API process: uvicorn around the application."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from service.app import create_app
from service.dependencies import Parts
from service.observability.board import Siblings
from service.processes import announcement
from service.settings import Settings
from service.transport.deadlines import keep_deadlines
from service.transport.memory import give_back_large_blocks
from service.transport.protocol import connection_class

_SWITCH_SECONDS = 0.0001
"""A thread that loads a model holds the event loop up for no longer than this; Python waits fifty times that."""
_READ_SECONDS = 0.05
"""For the event loop to read what had arrived on connections that are about to be closed."""


class _Server(uvicorn.Server):
    """Says where it listens once it does, keeps deadlines, and ends without losing a request."""

    def __init__(self, parts: Parts, config: uvicorn.Config, announce: Callable[[str, int], object]) -> None:
        super().__init__(config)
        self._parts, self._announce = parts, announce
        self._drain_seconds = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain: from now on each answer ends its connection, and readiness tells balancers to leave."""
        self._parts.draining.set()
        if sig == signal.SIGTERM:  # nobody balances over a server that ends by Ctrl-C
            self._drain_seconds = self._parts.settings.drain_seconds
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go on serving for a while, then take no more connections, read what was sent, and finish that."""
        await asyncio.sleep(self._drain_seconds)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_READ_SECONDS)
        await super().shutdown(sockets)

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        self._deadlines = asyncio.create_task(keep_deadlines(self.server_state.connections))
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._announce(host, port)


def _print(host: str, port: int) -> None:
    sys.stdout.write(announcement(host, port))
    sys.stdout.flush()


def _end_with_the_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run_server(
    settings: Settings,
    *,
    finish_seconds: int,
    siblings: Siblings | None = None,
    listener: socket.socket | None = None,
    announce: Callable[[str, int], object] = _print,
) -> None:
    """Serve until SIGTERM or SIGINT; after draining, requests in flight get `finish_seconds` to finish.

    As one of several processes it has siblings and a listening socket from a parent, and ends when that does.
    `announce` hears the address once it is served.
    """
    give_back_large_blocks()
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings, siblings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=connection_class(app.state.parts, app.state.admission),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=finish_seconds,
    )
    server = _Server(app.state.parts, config, announce)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has drained; by then there is nothing left for it to do.
        signal.signal(number, lambda *_: None)
    if siblings:
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
    server.run(sockets=[listener] if listener else None)
    if not server.started:
        sys.exit(1)
