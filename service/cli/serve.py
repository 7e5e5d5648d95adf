"""`glyphserve serve` and `glyphserve worker`: the processes of the service."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from service.settings import Settings

_RESTART_SECONDS = 0.5  # after a second death in a row; after the first it starts again at once
_STABLE_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 60.0
_WORKER_STOP_SECONDS = 5.0
_FINISH_SECONDS = 8


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: glyphserve serve --port 8080")(serve)
    app.command(epilog="Example: glyphserve worker --home /var/lib/glyphserve")(worker)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free one.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that others can reach, without keys.")
    ] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Take training jobs, but leave them to workers elsewhere.")
    ] = False,
) -> None:
    """Serve predictions and training jobs until Ctrl-C."""
    given: dict[str, Any] = {"host": host, "port": port, "home": home}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    if not insecure and not settings.is_local and not _has_keys(settings):
        sys.stderr.write(
            f"error: {settings.host} can be reached by others, who could then train and promote models.\n"
            "Create a key first (glyphserve keys create --scope admin), listen on 127.0.0.1, or say --insecure.\n"
        )
        raise typer.Exit(2)
    _log(settings)
    from training.kernel import use_better_kernel  # imports NumPy, which `--help` does without

    use_better_kernel()
    settings.home.mkdir(parents=True, exist_ok=True)
    supervisor = None if no_worker else _WorkerSupervisor(settings.home)
    from service.server import run_server  # after the worker is on its way: both start at the same time

    try:
        run_server(settings, finish_seconds=_FINISH_SECONDS)
    finally:
        if supervisor:
            supervisor.stop()


def worker(
    home: Annotated[Path | None, typer.Option(help="Folder for models and jobs.")] = None,
    stop_when_stdin_closes: Annotated[
        bool, typer.Option("--stop-when-stdin-closes", help="End when whoever started this is gone.")
    ] = False,
) -> None:
    """Run training jobs, next to `serve` or on a host of its own that shares the database and the store."""
    from service.worker import run_worker

    settings = Settings(home=home) if home else Settings()
    _log(settings)
    run_worker(settings, stop_when_stdin_closes=stop_when_stdin_closes)


def _log(settings: Settings) -> None:
    logging.getLogger().setLevel(settings.log_level.upper())
    logging.getLogger("dbos").setLevel(logging.WARNING)


def _has_keys(settings: Settings) -> bool:
    from service.keys import Keys
    from service.store import open_store

    return bool(Keys(open_store(settings.store_location)).list())


class _WorkerSupervisor:
    """Keeps one worker process running, and waits longer and longer with one that keeps dying."""

    def __init__(self, home: Path) -> None:
        self._environment = os.environ | {"GLYPHSERVE_HOME": str(home.absolute())}
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal reaches the server alone, which then ends the worker.
        command = [sys.executable, "-m", "service", "worker", "--stop-when-stdin-closes"]
        return subprocess.Popen(  # noqa: S603 -- our own command
            command, env=self._environment, stdin=subprocess.PIPE, start_new_session=True
        )

    def _watch(self) -> None:
        wait = 0.0
        while True:
            started = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            wait = 0.0 if time.monotonic() - started > _STABLE_SECONDS else wait
            sys.stderr.write(f"the worker ended with code {code}; it starts again in {wait:.1f} s\n")
            if self._stopping.wait(wait):
                return
            wait = min(max(2 * wait, _RESTART_SECONDS), _LONGEST_WAIT_SECONDS)
            self._process = self._start()

    def stop(self) -> None:
        self._stopping.set()
        self._process.terminate()
        try:
            self._process.wait(_WORKER_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(_WORKER_STOP_SECONDS)
