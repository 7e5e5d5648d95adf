"""Backup and restore: everything that is kept, in one file, and back.

    backup.json            the form, what is in it, and whose jobs are not
    jobs.sqlite            the jobs database, copied by SQLite's own backup while it is in use
    store/<key>            models, aliases, samples, keys, checkpoints
    checksums.json         the SHA-256 of each of them; last, so that a file that was cut off has none

The jobs are copied first and the store after them, so that a version that a job made is there. In the store aliases are
listed first, then manifests, then the rest: what names something is never newer than what it names.
"""

import io
import json
import os
import re
import secrets
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from service.errors import Conflict, UnprocessableContent
from service.json_objects import read_object
from service.registry.store import Store, open_store
from service.registry.store_format import check_format
from service.settings import Settings
from training.stored import of_known_fields

FORMAT = 1
_ABOUT, _JOBS, _CHECKSUMS = "backup.json", "jobs.sqlite", "checksums.json"
_FOLDERS = ("jobs", "keys", "models", "samples")
_KEYS_REQUIRED = "keys-required.json"
_KEY = re.compile(rf"store/((?:{'|'.join(_FOLDERS)})(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+|{re.escape(_KEYS_REQUIRED)})")
_PASSING = re.compile(r"/(promoting|deleting)/")
_BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class BackupInfo:
    """What a backup holds."""

    format: int
    created: str
    objects: int
    jobs: bool
    """Whether the jobs are in it: those in PostgreSQL are not."""


def create_backup(settings: Settings, file: Path) -> BackupInfo:
    """Write a backup, readable for this user alone, under its name only once it is complete.

    The service may go on meanwhile. Raises UnprocessableContent when the file exists or cannot be written, Unavailable.
    """
    if file.exists():
        raise UnprocessableContent("the file exists already; a backup overwrites nothing")
    store, database = open_store(settings.store_location), settings.database_file
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            contents = _write(stream, store, database)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(part, file)
    except OSError as error:
        raise UnprocessableContent(f"the file cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return contents


def restore(settings: Settings, file: Path, *, jobs: bool = True) -> BackupInfo:
    """Bring a backup back into an empty home and store; nothing is written before all of it was checked.

    Raises Conflict if it is not empty, UnprocessableContent if the file is damaged or of a later release, Unavailable.
    """
    contents, names = _checked(file)
    store, database = open_store(settings.store_location), settings.database_file
    check_format(store)
    if any(store.list(folder) for folder in _FOLDERS):
        raise Conflict("the store is not empty; a backup is restored into an empty one")
    if contents.jobs and jobs:
        if database is None:
            raise Conflict("the backup's jobs are SQLite's and DATABASE_URL names another database; leave them out")
        if database.exists():
            raise Conflict("there is a jobs database already; a backup is restored into an empty home")
    with tarfile.open(file) as archive:
        for name in sorted(names, key=_order):
            if found := _KEY.fullmatch(name):
                with suppress(FileExistsError):  # the one object that is in no folder may be there already
                    store.create(found[1], _member(archive, name))
        if contents.jobs and jobs and database:
            database.parent.mkdir(parents=True, exist_ok=True)
            part = database.with_name(f".{database.name}.restored")
            part.write_bytes(_member(archive, _JOBS))
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.rename(database)
    return contents


def _write(stream: io.BufferedIOBase, store: Store, database: Path | None) -> BackupInfo:
    check_format(store)
    sums: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(content))
            sums[name] = sha256(content).hexdigest()

        if has_jobs := database is not None and database.exists():
            add(_JOBS, _copied(database))
        objects = 0
        for key in _keys(store):
            try:
                add(f"store/{key}", store.get(key))
                objects += 1
            except FileNotFoundError:  # deleted since it was listed
                continue
        created = datetime.now(UTC).isoformat(timespec="seconds")
        contents = BackupInfo(FORMAT, created, objects, has_jobs)
        add(_ABOUT, json.dumps(asdict(contents)).encode())
        add(_CHECKSUMS, json.dumps(sums).encode())
    return contents


def _keys(store: Store) -> Iterator[str]:
    """List what is kept, in an order in which nothing can name what is missing."""
    models = [key for key in store.list("models") if "/aliases/" in key]
    models += [key for key in store.list("models") if key.endswith("/manifest.json")]
    known = set(models)
    rest = (key for key in store.list("models") if "/aliases/" not in key and not key.endswith("/manifest.json"))
    yield from (key for key in (*models, *(key for key in rest if key not in known)) if not _PASSING.search(key))
    if store.exists(_KEYS_REQUIRED):
        yield _KEYS_REQUIRED
    for folder in ("jobs", "keys", "samples"):
        yield from store.list(folder)


def _copied(database: Path) -> bytes:
    """Copy a SQLite database that may be in use, as it is at one moment."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _JOBS
        source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy.read_bytes()


def _checked(file: Path) -> tuple[BackupInfo, list[str]]:
    """Read all of a backup and hold it against its checksums."""
    damaged = UnprocessableContent("the backup is damaged, or is none; nothing was restored")
    try:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            found = {member.name: sha256(_member(archive, member.name)).hexdigest() for member in members}
            sums = json.loads(_member(archive, _CHECKSUMS))
            about = read_object(_member(archive, _ABOUT))
            if not isinstance(about["format"], int):
                raise TypeError
            contents = of_known_fields(BackupInfo, about)
    except FileNotFoundError:
        raise UnprocessableContent("there is no such file") from None
    # Damage comes up as any of these, by where in the compressed stream it sits.
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        tarfile.TarError,
        zlib.error,
        AttributeError,
        RecursionError,
        TypeError,
    ):
        raise damaged from None
    found.pop(_CHECKSUMS)
    if found != sums or len(found) + 1 != len(members):
        raise damaged
    if contents.format > FORMAT:
        raise UnprocessableContent(
            f"the backup has format {contents.format}, of a later release; this one knows {FORMAT}"
        )
    if not all(_KEY.fullmatch(name) or name in (_ABOUT, _JOBS) for name in found):
        raise damaged
    return contents, list(found)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:  # a folder, a link
        raise KeyError(name)
    return stream.read()


def _order(name: str) -> tuple[int, str]:
    """Let what names something be written after it: weights, manifests, aliases."""
    return ("/aliases/" in name) + (name.endswith("/manifest.json") or "/aliases/" in name), name
