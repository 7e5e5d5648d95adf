"""Backup and restore."""

import io
import json
import sqlite3
import subprocess
import tarfile
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from service.api.keys import Keys
from service.backup import create_backup, restore
from service.errors import Conflict, NotFound, UnprocessableContent
from service.jobs.queue import JobQueue
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.settings import Settings
from tests.service.conftest import COMMAND, Server, half_trained, png
from tests.service.processes import QUICK
from training import Dataset


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [*COMMAND, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def contents_of(store: Store) -> dict[str, str]:
    return {key: sha256(store.get(key)).hexdigest() for key in store.list("") if not key.startswith(".staging")}


def filled(home: Path) -> Settings:
    """A home with two versions, an alias with a history, and a key."""
    settings = Settings(home=home)
    store = open_store(settings.store_location)
    registry = Registry(store)
    for seed in range(2):
        version = registry.publish("mnist", *half_trained(seed=seed)).version
        registry.promote("mnist", "production", version)
    Keys(store).create(("admin",), "mine")
    return settings


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    file = tmp_path / "backup.tar.gz"
    create_backup(filled(tmp_path / "home"), file)
    return file


@pytest.mark.slow
def test_what_a_running_service_keeps_comes_back_in_another_home(
    server: Server, tmp_path: Path, digits: Dataset
) -> None:
    job = server.wait_for(server.submit(settings=QUICK, promote="always")["id"], "succeeded")
    form = {"file": ("seven.png", png(digits.images[0]), "image/png")}
    assert server.http.post("/samples", files=form, data={"label": "7"}).status_code == 201
    file, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    assert command("keys", "create", "--scope", "train", "--home", server.home).returncode == 0
    told = command("backup", file, "--home", server.home)
    assert told.returncode == 0, told.stderr
    assert "and the jobs" in told.stdout
    assert file.stat().st_mode & 0o077 == 0
    told = command("restore", file, "--home", home)
    assert told.returncode == 0, told.stderr
    restored = Settings(home=home)
    assert contents_of(open_store(restored.store_location)) == contents_of(open_store(str(server.home / "store")))
    jobs = JobQueue(restored)
    try:
        assert (jobs.get(job["id"]).state, jobs.get(job["id"]).version) == ("succeeded", job["version"])
    finally:
        jobs.close()
    picture = tmp_path / "digit.png"
    picture.write_bytes(png(digits.images[0]))
    here, there = (command("predict", picture, "--home", folder).stdout for folder in (server.home, home))
    assert here == there != ""


def test_a_backup_overwrites_nothing(backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(UnprocessableContent, match="exists already"):
        create_backup(Settings(home=tmp_path / "home"), backup)
    assert backup.read_bytes() == before
    assert [path.name for path in tmp_path.glob(".backup*")] == []


def test_a_home_that_is_not_empty_is_refused_and_left_as_it_is(backup: Path, tmp_path: Path) -> None:
    settings = filled(tmp_path / "other")
    before = contents_of(open_store(settings.store_location))
    with pytest.raises(Conflict, match="not empty"):
        restore(settings, backup)
    after = contents_of(open_store(settings.store_location))
    assert {key: after[key] for key in before} == before
    told = command("restore", backup, "--home", tmp_path / "other")
    assert (told.returncode, told.stderr.startswith("error: the store is not empty")) == (1, True)


def test_jobs_are_not_put_over_others(tmp_path: Path) -> None:
    file, home = tmp_path / "with-jobs.tar.gz", tmp_path / "busy"
    settings = filled(tmp_path / "home")
    with closing(sqlite3.connect(settings.home / "jobs.sqlite")) as database:
        database.execute("CREATE TABLE jobs (id)")
    assert create_backup(settings, file).jobs
    home.mkdir()
    (home / "jobs.sqlite").write_bytes(b"somebody's")
    with pytest.raises(Conflict, match="jobs database"):
        restore(Settings(home=home), file)
    elsewhere = Settings(home=tmp_path / "elsewhere", database_url="postgresql+psycopg://nobody@nowhere/none")
    with pytest.raises(Conflict, match="DATABASE_URL"):
        restore(elsewhere, file)
    assert restore(elsewhere, file, jobs=False).objects
    assert (home / "jobs.sqlite").read_bytes() == b"somebody's"


def test_a_damaged_backup_is_refused_or_brings_back_the_very_same(backup: Path, tmp_path: Path) -> None:
    content = backup.read_bytes()
    whole = contents_of(open_store(str(tmp_path / "home" / "store")))
    places = range(0, len(content), max(1, len(content) // 60))
    damaged = [content[:place] for place in places]
    damaged += [content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :] for place in places]
    refused = 0
    for number, bad in enumerate(damaged):
        file, settings = tmp_path / "bad.tar.gz", Settings(home=tmp_path / f"bad-{number}")
        file.write_bytes(bad)
        try:
            restore(settings, file)
        except UnprocessableContent:
            refused += 1
            assert not settings.home.exists()
        else:
            assert contents_of(open_store(settings.store_location)) == whole
    # Not all: the head of a gzip file has a time in it, and a tar its padding, that nobody reads.
    assert refused > len(damaged) // 2


def rewritten(backup: Path, name: str, content: bytes) -> None:
    """Change or add a member, with checksums that fit."""
    with tarfile.open(backup) as archive:
        members = {m.name: stream.read() for m in archive.getmembers() if (stream := archive.extractfile(m))}
    sums = json.loads(members.pop("checksums.json")) | {name: sha256(content).hexdigest()}
    with tarfile.open(backup, "w:gz") as archive:
        for key, value in (members | {name: content, "checksums.json": json.dumps(sums).encode()}).items():
            entry = tarfile.TarInfo(key)
            entry.size = len(value)
            archive.addfile(entry, io.BytesIO(value))


@pytest.mark.parametrize("name", ["store/../../escaped", "/etc/passwd", "store/models/../../x", "store/other/x"])
def test_a_backup_writes_nowhere_else(backup: Path, tmp_path: Path, name: str) -> None:
    rewritten(backup, name, b"x")
    with pytest.raises(UnprocessableContent, match="damaged"):
        restore(Settings(home=tmp_path / "new"), backup)


def test_a_backup_of_a_later_release_is_refused(backup: Path, tmp_path: Path) -> None:
    about = {"format": 2, "created": "2030-01-01", "objects": 0, "jobs": False}
    rewritten(backup, "backup.json", json.dumps(about).encode())
    with pytest.raises(UnprocessableContent, match="later release"):
        restore(Settings(home=tmp_path / "new"), backup)


def test_what_a_backup_names_is_in_it_while_others_publish_and_promote(tmp_path: Path) -> None:
    settings = filled(tmp_path / "home")
    registry, stop = Registry(open_store(settings.store_location)), threading.Event()

    def go_on() -> None:
        for seed in range(2, 1000):
            version = registry.publish("mnist", *half_trained(seed=seed), job_id=f"job-{seed}").version
            registry.promote("mnist", "production", version)
            if stop.is_set():
                return

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        for number in range(4):
            create_backup(settings, tmp_path / f"{number}.tar.gz")
    finally:
        stop.set()
        thread.join()
    for number in range(4):
        restored = Settings(home=tmp_path / f"restored-{number}")
        restore(restored, tmp_path / f"{number}.tar.gz")
        copy = Registry(open_store(restored.store_location))
        for state in copy.history("mnist", "production"):
            copy.load("mnist", state.version)
        for version in copy.version_numbers("mnist"):
            copy.load("mnist", version)
        with pytest.raises(NotFound):
            copy.manifest("mnist", 10_000)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "x"}', b'{"format": 0}'])
def test_a_damaged_format_is_told(tmp_path: Path, content: bytes) -> None:
    settings = filled(tmp_path / "home")
    open_store(settings.store_location).put("format.json", content)
    with pytest.raises(Conflict, match="damaged"):
        create_backup(settings, tmp_path / "file.tar.gz")


def test_a_home_with_nothing_in_it_is_no_backup(tmp_path: Path) -> None:
    done = command("backup", tmp_path / "file.tar.gz", "--home", tmp_path / "misspelt")
    assert done.returncode == 1
    assert "error: nothing to back up" in done.stderr
    assert str(tmp_path / "misspelt") in done.stderr
    assert not (tmp_path / "file.tar.gz").exists()
