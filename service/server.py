"""The API process: uvicorn around the application."""

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from service.assembly import adopt, assemble, living
from service.errors import Unavailable
from service.heartbeats import READY, report, send_heartbeats
from service.observability.board import Siblings
from service.parts import Parts
from service.processes import url
from service.settings import Settings
from service.transport.admission import Admission
from service.transport.deadlines import keep_deadlines
from service.transport.descriptors import raise_limit
from service.transport.memory import give_back_large_blocks, imports
from service.transport.protocol import connection_class

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.0001
"""A thread that loads a model holds the event loop up for no longer than this; Python waits fifty times that."""
_LOOK_SECONDS = 0.1
"""Between looks whether a model answers by now."""
_DATE_SECONDS = 1.0
"""Between looks at the clock for the `Date` header, whose steps are seconds (RFC 9110, section 6.6.1)."""
_READ_SECONDS = 0.05
"""For the event loop to read what had arrived on connections that are about to be closed."""


class _Application:
    """The application, imported and built once the server listens: the fast path needs none of it, others wait for it.

    Importing the web framework and describing all routes takes as long as everything before that.
    """

    def __init__(self, parts: Parts, admission: Admission) -> None:
        self._parts, self._admission = parts, admission
        self._built: asyncio.Task[ASGI3Application] | None = None

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            application = await asyncio.shield(self.built)
            await application(scope, receive, send)

    @property
    def built(self) -> "asyncio.Task[ASGI3Application]":
        if self._built is None:
            self._built = asyncio.create_task(asyncio.to_thread(self._build))
        return self._built

    def _build(self) -> ASGI3Application:
        adopt(self._parts)
        with imports():
            from service.app import application, prepare

            built = application(self._parts, self._admission)
            prepare(built)
            return cast(ASGI3Application, built)

    async def _live(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        async with living(self._parts):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class _Server(uvicorn.Server):
    """Reports when it is ready and that its loop turns, keeps deadlines, and ends without losing a request."""

    def __init__(
        self, parts: Parts, application: _Application, config: uvicorn.Config, announce: Callable[[str, int], object]
    ) -> None:
        self._exiting: asyncio.Future[None] | None = None
        super().__init__(config)
        self._parts, self._application, self._announce = parts, application, announce
        self.telling: int | None = None
        self._drain_seconds = 0.0
        self.has_failed = False

    @property
    def should_exit(self) -> bool:
        """Whether to drain and end; may be set by any thread and in a signal handler."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        if value and self._exiting:
            self._exiting.get_loop().call_soon_threadsafe(_finish, self._exiting)

    async def main_loop(self) -> None:
        """Wait for the end, and keep the `Date` header; uvicorn would look ten times a second."""
        self._exiting = asyncio.get_running_loop().create_future()
        while not await self.on_tick(0):
            await asyncio.wait([self._exiting], timeout=_DATE_SECONDS)

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
        if self.telling is not None:
            send_heartbeats(self.telling)
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        self._deadlines = asyncio.create_task(keep_deadlines(self.server_state.connections))
        self._building = asyncio.create_task(self._build())

    async def _build(self) -> None:
        """Announce where it listens once a model answers there; end when there is no application."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        try:
            await self._application.built
        except Exception:
            log.critical("the application could not be built", exc_info=True)
            self.should_exit = self.has_failed = True
        else:
            await self._until_a_model_answers(host, port)
            self._announce(host, port)

    async def _until_a_model_answers(self, host: str, port: int) -> None:
        settings, told = self._parts.settings, False
        while True:
            try:
                self._parts.answering()
            except Unavailable as error:
                if not told:
                    why = self._parts.predictor.last_error or error.detail
                    model = f"GLYPHSERVE_MODEL={settings.model}, GLYPHSERVE_ALIAS={settings.alias}"
                    log.warning("%s listens but is not ready: no model answers (%s): %s", url(host, port), model, why)
                told = True
            else:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _end_with_the_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)  # and not SIGTERM: whoever comes after the parent wants the port now


def make_server(
    settings: Settings,
    *,
    finish_seconds: int = 10,
    siblings: Siblings | None = None,
    announce: Callable[[str, int], object] = lambda _host, _port: None,
) -> _Server:
    """Make the server of one process; its `run` serves until its `should_exit` is set."""
    parts = assemble(settings, siblings)
    admission = Admission(settings.max_running_requests, settings.max_waiting_requests)
    application = _Application(parts, admission)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=connection_class(parts, admission),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=finish_seconds,
    )
    return _Server(parts, application, config, announce)


def run_server(
    settings: Settings, listener: socket.socket, telling: int, *, finish_seconds: int, siblings: Siblings | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; after draining, requests in flight get `finish_seconds` to finish.

    The listening socket comes from a parent, with which it ends. It reports to it by the file number `telling`, and on
    SIGUSR1 writes the stacks of all threads on standard error. As one of several processes it has siblings.
    """
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    give_back_large_blocks()
    raise_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    server = make_server(
        settings,
        finish_seconds=finish_seconds,
        siblings=siblings,
        announce=lambda _host, _port: report(telling, READY),
    )
    server.telling = telling
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has drained; by then there is nothing left for it to do.
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    server.run(sockets=[listener])
    if not server.started or server.has_failed:
        sys.exit(1)
