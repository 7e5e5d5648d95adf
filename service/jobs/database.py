"""The jobs database, opened when it is first needed, and what is wrong with it, told where people look.

    jobs.sqlite.known    beside a SQLite file that was made; with a text in it once that file was lost

DBOS and SQLAlchemy take a second to import, so that is left until then.
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

_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 3600.0


class Database:
    """The database of one process. Any thread may use it."""

    def __init__(self, settings: Settings) -> None:
        """Touch nothing yet."""
        self._settings, self._file = settings, settings.database_file
        self._lock = threading.Lock()
        self._opened: DBOSClient | None = None
        self._failure: str | None = None
        self._pause = self._next_line = 0.0

    @property
    def last_error(self) -> str | None:
        """What is wrong with it as far as is known; reads a small file at most."""
        return self._failure or (_noted_loss(self._file) if self._file else None)

    @contextlib.contextmanager
    def client(self) -> "Iterator[DBOSClient]":
        """Give the client, opened the first time; a database that does not answer is Unavailable."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._lock:
                self._opened = self._opened or self._open()
            yield self._opened
        except SQLAlchemyError as error:
            detail = _explained(error, self._file)
            self._tell(detail, type(error).__name__)
            raise Unavailable(detail, retry_after_seconds=2) from error
        if self._failure is not None:
            self._failure = None
            log.info("the jobs database answers again")

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if self._opened is not None:
                self._opened.destroy()
                self._opened = None

    def _open(self) -> "DBOSClient":
        from dbos import DBOS, DBOSClient

        logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns at every try, several times a second
        self._settings.home.mkdir(parents=True, exist_ok=True)
        if self._file:
            _note_loss(self._file)
        DBOS.migrate(self._settings.database_location)  # API or worker, whoever comes first
        if self._file:
            _known(self._file).touch()
        return DBOSClient(
            system_database_url=self._settings.database_location,
            serializer=json_serializer(),
            retry_connection_errors=False,
        )

    def _tell(self, detail: str, kind: str) -> None:
        """Log a failure at once, and then with growing pauses while it lasts."""
        now = time.monotonic()
        with self._lock:
            if detail != self._failure:
                self._failure, self._pause, self._next_line = detail, _FIRST_PAUSE, now
            if now < self._next_line:
                return
            self._next_line, self._pause = now + self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        log.error("%s (%s%s)", detail, kind, f", {self._file}" if self._file else "")


def _explained(error: Exception, file: Path | None) -> str:
    """Say what is wrong, with the name of the file where that is damaged, and what to do then."""
    damage = getattr(error, "orig", None)
    if file and "unable to open" in str(damage):
        return f"the jobs database {file.name} cannot be opened: it must be a file that may be written, in a folder"
    if file and isinstance(damage, sqlite3.DatabaseError) and not isinstance(damage, sqlite3.OperationalError):
        return (
            f"the jobs database {file.name} is damaged ({damage}): put a backup in its place, "
            "or move it away to begin without jobs"
        )
    return "the jobs database is not ready"


def _note_loss(file: Path) -> None:
    """Log, and write down, that a database is gone that was there before; it is to be begun anew."""
    if not _known(file).exists() or (file.exists() and file.stat().st_size):
        return
    what = "was empty" if file.exists() else "was missing"
    log.error("the jobs database %s %s, and was there before; it is begun anew, without its jobs", file, what)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    _known(file).write_text(
        f"the jobs database {file.name} {what} at {since} and was begun anew, without its jobs: put a backup in its "
        f"place, and delete {_known(file).name}"
    )


def _noted_loss(file: Path) -> str | None:
    try:
        return _known(file).read_text() or None
    except OSError:
        return None


def _known(file: Path) -> Path:
    return file.with_name(f"{file.name}.known")
