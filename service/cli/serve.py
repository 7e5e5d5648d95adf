"""`glyphserve serve` and `glyphserve worker`: the processes of the service."""

import socket
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.context import ensure_home
from service.observability.shared_memory import PeerProcesses, SharedPages
from service.server.child_process import CHECKED, READY, fork, report
from service.server.multiprocess import ProcessGroup, bind_reuseport_sockets
from service.server.process_tuning import frozen_imports
from service.server.supervisor import Supervisor
from service.settings import Settings

_WORKER_STOP_SECONDS = 5.0
_FINISH_SECONDS = 8


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: glyphserve serve --port 8080")(serve)
    app.command(epilog="Example: glyphserve worker --home /var/lib/glyphserve")(worker)
    app.command(hidden=True)(api)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free one.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    processes: Annotated[int | None, typer.Option(help="API processes that share the port.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a public address without API keys.")] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Queue training jobs, but run no worker here.")
    ] = False,
) -> None:
    """Serve predictions and training jobs until Ctrl-C."""
    given: dict[str, Any] = {"host": host, "port": port, "home": home, "processes": processes}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    _log(settings)
    with frozen_imports():
        from training.cli.blas import reexec_with_faster_core_type  # imports NumPy, which `--help` does not need

    reexec_with_faster_core_type()
    ensure_home(settings)
    sockets, pages = _bind_sockets(settings), SharedPages.create(settings.processes)
    # The first API process is forked from this one. Only the fork uses the store, which starts threads.
    first = fork()
    if isinstance(first, int):
        _ensure_keys(settings, insecure=insecure)
        _check_store(settings)
        report(first, CHECKED)
        _serve(settings, sockets[0], first, pages, 0)
        return
    if not first.wait_until_checked():
        raise typer.Exit(first.wait())
    supervisor = None if no_worker else _keep_worker(settings)
    try:
        code = ProcessGroup(settings, sockets, pages, first).wait(_FINISH_SECONDS)
    finally:
        if supervisor:
            supervisor.stop()
            supervisor.join(_WORKER_STOP_SECONDS)
    raise typer.Exit(code)


def _bind_sockets(settings: Settings) -> list[socket.socket]:
    try:
        return bind_reuseport_sockets(settings.host, settings.port, settings.processes)
    except OSError as error:
        sys.stderr.write(
            f"error: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose another one with --host or --port (0 for any free port)\n"
        )
        raise typer.Exit(1) from None


def _ensure_keys(settings: Settings, *, insecure: bool) -> None:
    if not insecure and not settings.is_local and not _asks_for_keys(settings):
        sys.stderr.write(
            f"error: anyone who can reach {settings.host} could train and promote models.\n"
            "Create a key first (glyphserve keys create --scope admin), listen on 127.0.0.1, or pass --insecure.\n"
        )
        raise typer.Exit(2)


def _serve(settings: Settings, listener: socket.socket, report_fd: int, pages: SharedPages, process_index: int) -> None:
    with frozen_imports():
        from service.server.uvicorn_server import run_server

    peers = PeerProcesses(pages, process_index) if settings.processes > 1 else None
    run_server(settings, listener, report_fd, finish_seconds=_FINISH_SECONDS, peers=peers)


def _keep_worker(settings: Settings) -> Supervisor:
    arguments = ["worker", "--stop-when-stdin-closes"]
    return Supervisor("the worker", arguments, {"HOME": str(settings.home.absolute())})


def api(process_index: int, listener: int, pages: int, report_fd: Annotated[int, typer.Option("--report-fd")]) -> None:
    """Run one of the API processes; `serve` starts them."""
    settings = Settings()
    _log(settings)
    with frozen_imports():
        from training.cli.blas import reexec_with_faster_core_type

        reexec_with_faster_core_type()
    _serve(settings, socket.socket(fileno=listener), report_fd, SharedPages(pages, settings.processes), process_index)


def worker(
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    stop_when_stdin_closes: Annotated[
        bool, typer.Option("--stop-when-stdin-closes", help="Stop when the parent process exits.")
    ] = False,
    report_fd: Annotated[
        int | None, typer.Option("--report-fd", hidden=True, help="File descriptor for the readiness report.")
    ] = None,
) -> None:
    """Run training jobs, next to `serve` or on another host that shares the database and the store."""
    from service.jobs.worker import run_worker

    settings = Settings(home=home) if home else Settings()
    _log(settings)
    ensure_home(settings)
    _check_store(settings)
    on_ready = partial(report, report_fd, READY) if report_fd is not None else bool
    run_worker(settings, stop_when_stdin_closes=stop_when_stdin_closes, on_ready=on_ready)


def _log(settings: Settings) -> None:
    from service.observability.logs import configure

    configure(settings.log_format, settings.log_level)


def _check_store(settings: Settings) -> None:
    """Reject a store of a later release; a remote store that is unavailable is checked again later.

    An unusable folder is a wrong setting, not an outage.
    """
    from service.errors import Unavailable, UnprocessableContent
    from service.registry.store import open_store
    from service.registry.store_format import check_format

    location = settings.store_location
    try:
        check_format(open_store(location))
    except (Unavailable, OSError):
        if "://" not in location:
            raise UnprocessableContent(
                f"the store {location} must be a folder that can be read and written; choose another one with "
                "GLYPHSERVE_STORE_URL"
            ) from None


def _asks_for_keys(settings: Settings) -> bool:
    from service.api.keys import Keys
    from service.registry.store import open_store

    return Keys(open_store(settings.store_location)).are_required()
