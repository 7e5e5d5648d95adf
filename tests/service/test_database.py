"""The jobs database away, damaged, empty or lost: what is said about it, and how often."""

import logging
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from service.errors import Unavailable
from service.jobs.database import add_missing_sqlite_functions
from tests.service.conftest import running_server, wait_until
from tests.service.processes import QUICK
from tests.service.test_worker import queue_of, submit

NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


@pytest.mark.slow
def test_a_damaged_database_is_named_by_answers_readiness_and_log_and_mending_it_helps(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with queue_of(home) as jobs:
        before = submit(jobs, QUICK)
    file = home / "jobs.sqlite"
    whole = file.read_bytes()
    file.write_bytes(b"no database" * 1000)
    with running_server(home) as server:
        answer = wait_until(lambda: a if (a := server.http.get("/train")).status_code == 503 else None, "an answer")
        for text in (answer.json()["detail"], server.http.get("/health/ready").json()["jobs"]):
            assert "jobs.sqlite is damaged" in text
            assert "backup" in text
            assert str(home) not in text
        file.write_bytes(whole)
        assert server.wait_for(before, "succeeded")
        assert server.http.get("/health/ready").json()["jobs"] is None
    assert "jobs.sqlite is damaged" in server.output
    assert "Traceback" not in server.output
    assert "exited with code" not in server.output  # the worker has waited


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_lost_database_is_told(tmp_path: Path, is_empty: bool, caplog: pytest.LogCaptureFixture) -> None:
    with queue_of(tmp_path) as jobs:
        submit(jobs, QUICK)
        assert jobs.last_error is None
    for file in tmp_path.glob("jobs.sqlite*"):
        if file.suffix != ".known":
            file.write_bytes(b"") if is_empty else file.unlink()
    with queue_of(tmp_path) as jobs, queue_of(tmp_path) as other:
        assert jobs.list() == []
        assert other.list() == []
        for trouble in (jobs.last_error, other.last_error):
            assert trouble is not None
            assert ("was empty" if is_empty else "was missing") in trouble
        (tmp_path / "jobs.sqlite.known").unlink()
        assert jobs.last_error is None
    assert sum("without its jobs" in record.getMessage() for record in caplog.records) == 1


def test_a_database_that_is_away_is_told_once_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with queue_of(tmp_path, database_url=NOWHERE) as jobs:
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(Unavailable):
                jobs.list()
        took = time.monotonic() - began
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(lines) <= 1 + took / 10


def test_the_time_that_dbos_asks_sqlite_for_is_there_in_older_versions_of_sqlite(tmp_path: Path) -> None:
    add_missing_sqlite_functions()
    add_missing_sqlite_functions()  # the second call adds nothing
    with create_engine(f"sqlite:///{tmp_path / 'new.sqlite'}").begin() as connection:
        connection.execute(text("CREATE TABLE rows (id INTEGER, at INTEGER DEFAULT (unixepoch('subsec') * 1000))"))
        connection.execute(text("INSERT INTO rows (id) VALUES (1)"))
        (milliseconds,) = connection.execute(text("SELECT at FROM rows")).one()
    assert abs(milliseconds / 1000 - time.time()) < 60
