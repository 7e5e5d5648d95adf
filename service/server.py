"""The API process: uvicorn around the application."""

import signal
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings


class _Server(uvicorn.Server):
    """Says where it listens once it does, and tells the application when it is to end."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.parts.draining.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        sys.stdout.write(
            f"glyphserve is ready at {url}\n"
            f"  read a digit   curl -F file=@digit.png {url}/predict\n"
            f"  train          curl -X POST {url}/train\n"
            f"  everything     {url}/docs\n"
        )
        sys.stdout.flush()


def run_server(settings: Settings, *, drain_seconds: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight then get `drain_seconds` to finish."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
    )
    server = _Server(app, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has drained; by then there is nothing left for it to do.
        signal.signal(number, lambda *_: None)
    server.run()
    if not server.started:
        sys.exit(1)
