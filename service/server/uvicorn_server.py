"""The API process: uvicorn running the application."""

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

from service.bootstrap import build_services, install_bundled_models, running
from service.errors import Unavailable
from service.observability.shared_memory import PeerProcesses
from service.server.child_process import READY, report, send_heartbeats
from service.server.http_protocol import connection_factory
from service.server.multiprocess import url
from service.server.process_tuning import frozen_imports, limit_malloc_growth, raise_descriptor_limit
from service.server.timeouts import check_deadlines_periodically
from service.services import Services
from service.settings import Settings

log = logging.getLogger(__name__)

_SWITCH_INTERVAL_SECONDS = 0.0001
"""The longest time that a thread which loads a model blocks the event loop. Python's default is 50 times longer."""
_READY_POLL_SECONDS = 0.1
_DATE_INTERVAL_SECONDS = 1.0
"""How often uvicorn updates the Date header, whose resolution is one second (RFC 9110, section 6.6.1)."""
_LAST_READ_SECONDS = 0.05
"""Time for the event loop to read data that have arrived on connections that are about to be closed."""


class LazyApp:
    """The ASGI application, imported and built after the server listens.

    Importing FastAPI and building the routes takes as long as the rest of the start-up. The fast path does not need the
    application; other requests wait for it.
    """

    def __init__(self, services: Services) -> None:
        """Import nothing yet."""
        self._services = services
        self._load_task: asyncio.Task[ASGI3Application] | None = None

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run the lifespan, or pass a request to the application once it is loaded."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            app = await asyncio.shield(self.load_task)
            await app(scope, receive, send)

    @property
    def load_task(self) -> "asyncio.Task[ASGI3Application]":
        """The task that imports and builds the application, started on first use."""
        if self._load_task is None:
            self._load_task = asyncio.create_task(asyncio.to_thread(self._load))
        return self._load_task

    def _load(self) -> ASGI3Application:
        install_bundled_models(self._services)
        with frozen_imports():
            from service.api.app import build_app, prepare

            app = build_app(self._services)
            prepare(app)
            return cast(ASGI3Application, app)

    async def _run_lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        async with running(self._services):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class _Server(uvicorn.Server):
    """Reports readiness and heartbeats, enforces deadlines, and shuts down without losing requests."""

    def __init__(
        self, services: Services, app: LazyApp, config: uvicorn.Config, on_ready: Callable[[str, int], object]
    ) -> None:
        self._exit_requested: asyncio.Future[None] | None = None
        super().__init__(config)
        self._services, self._app, self._on_ready = services, app, on_ready
        self.report_fd: int | None = None
        self._drain_seconds = 0.0
        self.has_failed = False

    @property
    def should_exit(self) -> bool:
        """Whether to shut down. May be set by any thread and in a signal handler."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        if value and self._exit_requested:
            self._exit_requested.get_loop().call_soon_threadsafe(_set_done, self._exit_requested)

    async def main_loop(self) -> None:
        """Wait for shutdown, and update the Date header. uvicorn's own loop wakes up ten times a second."""
        self._exit_requested = asyncio.get_running_loop().create_future()
        while not await self.on_tick(0):
            await asyncio.wait([self._exit_requested], timeout=_DATE_INTERVAL_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain: readiness fails, and each response closes its connection."""
        self._services.shutting_down.set()
        if sig == signal.SIGTERM:  # a server that ends by Ctrl-C has no load balancer in front
            self._drain_seconds = self._services.settings.drain_seconds
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve for the drain time, stop accepting, read what was sent, and finish those requests."""
        await asyncio.sleep(self._drain_seconds)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_READ_SECONDS)
        await super().shutdown(sockets)

    async def startup(self, sockets: object = None) -> None:
        if self.report_fd is not None:
            send_heartbeats(self.report_fd)
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        self._deadline_task = asyncio.create_task(check_deadlines_periodically(self.server_state.connections))
        self._ready_task = asyncio.create_task(self._report_ready())

    async def _report_ready(self) -> None:
        """Call `on_ready` once the application is loaded and a model serves; shut down if loading fails."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        try:
            await self._app.load_task
        except Exception:
            log.critical("the application could not be loaded", exc_info=True)
            self.should_exit = self.has_failed = True
        else:
            await self._wait_for_model(host, port)
            self._on_ready(host, port)

    async def _wait_for_model(self, host: str, port: int) -> None:
        settings, is_logged = self._services.settings, False
        while True:
            try:
                self._services.ready_snapshot()
            except Unavailable as error:
                if not is_logged:
                    reason = self._services.predictor.last_error or error.detail
                    model = f"GLYPHSERVE_MODEL={settings.model}, GLYPHSERVE_ALIAS={settings.alias}"
                    log.warning("%s listens but is not ready: no model serves (%s): %s", url(host, port), model, reason)
                is_logged = True
            else:
                return
            await asyncio.sleep(_READY_POLL_SECONDS)


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _exit_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)  # not SIGTERM, which drains: a restarted parent needs the port now


def make_server(
    settings: Settings,
    *,
    finish_seconds: int = 10,
    peers: PeerProcesses | None = None,
    on_ready: Callable[[str, int], object] = lambda _host, _port: None,
) -> _Server:
    """Return the server of one process. Its `run` serves until its `should_exit` is set."""
    services = build_services(settings, peers)
    app = LazyApp(services)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=connection_factory(services),  # type: ignore[arg-type]  # a factory is called as a class is
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=finish_seconds,
    )
    return _Server(services, app, config, on_ready)


def run_server(
    settings: Settings,
    listener: socket.socket,
    report_fd: int,
    *,
    finish_seconds: int,
    peers: PeerProcesses | None = None,
) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT. After draining, requests get `finish_seconds` to finish.

    The process exits with its parent and reports to it through the file descriptor `report_fd`. SIGUSR1 dumps the
    stacks of all threads to standard error.
    """
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    limit_malloc_growth()
    raise_descriptor_limit()
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    server = make_server(
        settings,
        finish_seconds=finish_seconds,
        peers=peers,
        on_ready=lambda _host, _port: report(report_fd, READY),
    )
    server.report_fd = report_fd
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after it has shut down, when nothing is left to do.
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    server.run(sockets=[listener])
    if not server.started or server.has_failed:
        sys.exit(1)
