"""The jobs database: opened on first use, with its errors logged and reported.

    jobs.sqlite.known    next to a SQLite file that was created; contains a message if that file was lost

DBOS and SQLAlchemy take a second to import, so the import is deferred as well.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import Unavailable
from service.jobs.dbos_mapping import json_serializer
from service.settings import Settings

if TYPE_CHECKING:
    from dbos import DBOSClient

log = logging.getLogger(__name__)

_MIN_LOG_INTERVAL, _MAX_LOG_INTERVAL = 10.0, 3600.0


class Database:
    """The database connection of one process. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._settings, self._file = settings, settings.database_file
        self._lock = threading.Lock()
        self._opened: DBOSClient | None = None
        self._failure: str | None = None
        self._log_interval = self._next_log = 0.0

    @property
    def last_error(self) -> str | None:
        """The current error, if known; reads a small file at most."""
        return self._failure or (_recorded_loss(self._file) if self._file else None)

    @contextlib.contextmanager
    def client(self) -> "Iterator[DBOSClient]":
        """Yield the client, opened on first use. Raises Unavailable if the database fails in the block."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._lock:
                self._opened = self._opened or self._open()
            yield self._opened
        except SQLAlchemyError as error:
            detail = _explain(error, self._file)
            self._log_failure(detail, type(error).__name__)
            raise Unavailable(detail, retry_after_seconds=2) from error
        if self._failure is not None:
            self._failure = None
            log.info("the jobs database is available again")

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            if self._opened is not None:
                self._opened.destroy()
                self._opened = None

    def _open(self) -> "DBOSClient":
        from dbos import DBOS, DBOSClient

        add_missing_sqlite_functions()
        logging.getLogger("dbos").setLevel(logging.ERROR)  # it logs a warning for every retry, several per second
        self._settings.home.mkdir(parents=True, exist_ok=True)
        if self._file:
            _record_loss(self._file)
        DBOS.migrate(self._settings.database_location)  # by whichever process comes first
        if self._file:
            _marker(self._file).touch()
        return DBOSClient(
            system_database_url=self._settings.database_location,
            serializer=json_serializer(),
            retry_connection_errors=False,
        )

    def _log_failure(self, detail: str, kind: str) -> None:
        """Log a failure immediately, and then at increasing intervals while it persists."""
        now = time.monotonic()
        with self._lock:
            if detail != self._failure:
                self._failure, self._log_interval, self._next_log = detail, _MIN_LOG_INTERVAL, now
            if now < self._next_log:
                return
            self._next_log = now + self._log_interval
            self._log_interval = min(2 * self._log_interval, _MAX_LOG_INTERVAL)
        log.error("%s (%s%s)", detail, kind, f", {self._file}" if self._file else "")


def add_missing_sqlite_functions() -> None:
    """Give all SQLite connections of this process `unixepoch('subsec')`, which SQLite lacks before 3.42.

    DBOS calls it on Python 3.12 and newer. A Python that uses the SQLite of Debian 12 has 3.40, where it returns NULL.
    """
    from sqlalchemy import Engine, event

    if sqlite3.sqlite_version_info < (3, 42) and not event.contains(Engine, "connect", _add_unixepoch):
        event.listen(Engine, "connect", _add_unixepoch)


def _add_unixepoch(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("unixepoch", 1, _seconds_since_1970)


def _seconds_since_1970(modifier: str) -> float:
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is not supported; only 'subsec' is")
    return round(time.time(), 3)


def _explain(error: Exception, file: Path | None) -> str:
    """Return the problem, and what to do if the database file is damaged."""
    cause = getattr(error, "orig", None)
    if file and "unable to open" in str(cause):
        return f"the jobs database {file.name} cannot be opened: it must be a writable file in an existing folder"
    if file and isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
        return (
            f"the jobs database {file.name} is damaged ({cause}): restore a backup, or move the file away to start "
            "without jobs"
        )
    return "the jobs database is not available"


def _record_loss(file: Path) -> None:
    """Log and record that an existing database was lost and will be created again."""
    if not _marker(file).exists() or (file.exists() and file.stat().st_size):
        return
    what = "was empty" if file.exists() else "was missing"
    log.error("the jobs database %s existed before but %s; a new one without its jobs was created", file, what)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    _marker(file).write_text(
        f"the jobs database {file.name} {what} at {since} and a new one without its jobs was created: restore a "
        f"backup, and delete {_marker(file).name}"
    )


def _recorded_loss(file: Path) -> str | None:
    try:
        return _marker(file).read_text() or None
    except OSError:
        return None


def _marker(file: Path) -> Path:
    """Return the file that says that a database was created."""
    return file.with_name(f"{file.name}.known")
