"""`glyphserve serve` and `glyphserve worker`: the processes of the service."""

import os
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from service.settings import Settings
from service.supervisor import Supervisor, report_ready
from service.transport.memory import imports

_WORKER_STOP_SECONDS = 5.0
_FINISH_SECONDS = 8


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: glyphserve serve --port 8080")(serve)
    app.command(epilog="Example: glyphserve worker --home /var/lib/glyphserve")(worker)
    app.command(hidden=True)(api)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free one.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    processes: Annotated[int | None, typer.Option(help="API processes that share the port.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that others can reach, without keys.")
    ] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Take training jobs, but leave them to workers elsewhere.")
    ] = False,
) -> None:
    """Serve predictions and training jobs until Ctrl-C."""
    given: dict[str, Any] = {"host": host, "port": port, "home": home, "processes": processes}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    if not insecure and not settings.is_local and not _asks_for_keys(settings):
        sys.stderr.write(
            f"error: {settings.host} can be reached by others, who could then train and promote models.\n"
            "Create a key first (glyphserve keys create --scope admin), listen on 127.0.0.1, or say --insecure.\n"
        )
        raise typer.Exit(2)
    _log(settings)
    _check_store(settings)
    with imports():
        from training.kernel import use_better_kernel  # imports NumPy, which `--help` does without

    use_better_kernel()
    settings.home.mkdir(parents=True, exist_ok=True)
    supervisor = None if no_worker else _keep_worker(settings)
    try:
        if settings.processes > 1:
            _serve_together(settings)
        else:
            with imports():
                from service.server import run_server  # after the worker is on its way: both start at the same time

            run_server(settings, finish_seconds=_FINISH_SECONDS)
    finally:
        if supervisor:
            supervisor.ask_to_end()
            supervisor.wait(_WORKER_STOP_SECONDS)


def _serve_together(settings: Settings) -> None:
    from service.processes import run_processes

    try:
        run_processes(settings, finish_seconds=_FINISH_SECONDS)
    except OSError as error:
        sys.stderr.write(f"error: cannot listen on {settings.host}:{settings.port}: {error.strerror}\n")
        raise typer.Exit(1) from None


def _keep_worker(settings: Settings) -> Supervisor:
    arguments = ["worker", "--stop-when-stdin-closes"]
    return Supervisor("the worker", arguments, {"HOME": str(settings.home.absolute())}, reports_ready=True)


def api(place: int, listener: int, board: int, telling: int) -> None:
    """Be one of several API processes; `serve --processes` starts them with what they inherit."""
    settings = Settings()
    _log(settings)
    with imports():
        from training.kernel import use_better_kernel

        use_better_kernel()
        from service.observability.board import Board, Siblings
        from service.server import run_server

    run_server(
        settings,
        finish_seconds=_FINISH_SECONDS,
        siblings=Siblings(Board(board, settings.processes), place),
        listener=socket.socket(fileno=listener),
        announce=lambda *_: os.write(telling, b"."),
    )


def worker(
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    stop_when_stdin_closes: Annotated[
        bool, typer.Option("--stop-when-stdin-closes", help="End when whoever started this is gone.")
    ] = False,
    ready_fd: Annotated[
        int | None, typer.Option("--ready-fd", hidden=True, help="Where to report that it is ready.")
    ] = None,
) -> None:
    """Run training jobs, next to `serve` or on a host of its own that shares the database and the store."""
    from service.jobs.worker import run_worker

    settings = Settings(home=home) if home else Settings()
    _log(settings)
    _check_store(settings)
    on_ready = partial(report_ready, ready_fd) if ready_fd is not None else bool
    run_worker(settings, stop_when_stdin_closes=stop_when_stdin_closes, on_ready=on_ready)


def _log(settings: Settings) -> None:
    from service.observability.logs import configure

    configure(settings.log_format, settings.log_level)


def _check_store(settings: Settings) -> None:
    """Start on no store of a later release; one that is out of reach is looked at again by who serves from it."""
    from service.errors import Unavailable
    from service.models.format import check_format
    from service.models.store import open_store

    with suppress(Unavailable):
        check_format(open_store(settings.store_location))


def _asks_for_keys(settings: Settings) -> bool:
    from service.keys import Keys
    from service.models.store import open_store

    return Keys(open_store(settings.store_location)).are_required()
