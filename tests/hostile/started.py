"""A server for hostile inputs: impatient, and with a jobs database, but without a worker that would run the jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.conftest import Server, running_server, wait_until

DEADLINE_SECONDS, IDLE_SECONDS = "0.5", "5"


@contextmanager
def impatient_server(home: Path) -> Iterator[Server]:
    """Start it; first once with a worker, which makes the database."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HEADER_SECONDS", "BODY_SECONDS"):
            patch.setenv(f"GLYPHSERVE_{name}", DEADLINE_SECONDS)
        patch.setenv("GLYPHSERVE_IDLE_SECONDS", IDLE_SECONDS)
        with running_server(home) as server:
            wait_until(lambda: server.http.get("/train").status_code == 200, "the jobs database")
        with running_server(home, "--no-worker") as server:
            yield server
