import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.registry.store import Store, open_store


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def test_what_is_put_can_be_got_listed_and_deleted(store: Store) -> None:
    store.put("models/a/1/x", b"one")
    store.put("models/a/1/x", b"two")
    store.put("models/b", b"")
    assert store.get("models/a/1/x") == b"two"
    assert store.list("models") == ["models/a/1/x", "models/b"]
    assert store.list("nothing") == []
    store.delete("models/b")
    store.delete("models/b")
    assert store.list("models") == ["models/a/1/x"]


def test_a_file_becomes_an_object_which_later_files_of_that_name_do_not_change(store: Store, tmp_path: Path) -> None:
    path, successor = tmp_path / "checkpoint", tmp_path / "successor"
    path.write_bytes(b"one")
    store.put_file("jobs/a/checkpoint", path)
    successor.write_bytes(b"two")
    successor.replace(path)
    assert store.get("jobs/a/checkpoint") == b"one"
    store.put_file("jobs/a/checkpoint", path)
    path.unlink()
    assert store.get("jobs/a/checkpoint") == b"two"
    assert store.list("") == ["jobs/a/checkpoint"]
    with pytest.raises(FileNotFoundError):
        store.put_file("jobs/a/checkpoint", path)


def test_a_file_that_cannot_be_linked_is_copied(folder: Store, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:  # another file system, as a rule
        path = Path(elsewhere) / "checkpoint"
        path.write_bytes(b"one")
        folder.put_file("jobs/a/checkpoint", path)
    assert folder.get("jobs/a/checkpoint") == b"one"
    assert list((tmp_path / "store" / ".staging").iterdir()) == []


def test_a_missing_object_is_a_missing_file(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("nothing")


def test_of_many_who_create_at_once_exactly_one_wins(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            store.create("prize", str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number, won in enumerate(threads.map(create, range(64))) if won]
    assert len(winners) == 1
    assert store.get("prize") == str(winners[0]).encode()


CREATE_ALL = """
import sys
from service.registry.store import open_store
store = open_store(sys.argv[1])
sys.stdin.readline()
for key in range(50):
    try:
        store.create(f"prizes/{key}", sys.argv[2].encode())
    except FileExistsError:
        continue
    print(key)
"""


def test_of_two_processes_that_create_at_once_exactly_one_wins_each_name(location: str, store: Store) -> None:
    start = [sys.executable, "-c", CREATE_ALL, location]
    rivals = [
        subprocess.Popen([*start, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for rival in rivals:
        assert rival.stdin
        rival.stdin.write("go\n")
        rival.stdin.flush()
    won = {name: rival.communicate(timeout=60)[0].split() for name, rival in zip("ab", rivals, strict=True)}
    assert sorted(won["a"] + won["b"], key=int) == [str(key) for key in range(50)]
    for name, keys in won.items():
        assert all(store.get(f"prizes/{key}") == name.encode() for key in keys)


def test_an_object_is_there_or_not(store: Store) -> None:
    store.create("here", b"")
    assert store.exists("here")
    assert not store.exists("there")


def test_keys_cannot_leave_the_store(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="path"):
        store.put("../outside", b"x")
    assert not (tmp_path / "outside").exists()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see system calls")
def test_an_object_is_on_disk_before_its_name_is_and_its_name_before_the_write_is_acknowledged(tmp_path: Path) -> None:
    program = "import sys; from service.registry.store import open_store; open_store(sys.argv[1]).create('a/b', b'x')"
    calls = tmp_path / "calls"
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,link,linkat,rename,renameat", "-o", str(calls)]
    subprocess.run([*trace, sys.executable, "-c", program, str(tmp_path / "store")], check=True)
    lines = [line for line in calls.read_text().splitlines() if str(tmp_path / "store") in line]
    content = next(place for place, line in enumerate(lines) if "fsync" in line)
    named = max(place for place, line in enumerate(lines) if "link" in line)
    assert "/.staging/" in lines[content]
    assert content < named
    assert [line.partition("<")[2].partition(">")[0] for line in lines[named + 1 :]] == [
        str(tmp_path / "store" / "a"),
        str(tmp_path / "store"),
    ]


def test_nothing_is_left_of_a_write_that_failed(folder: Store, tmp_path: Path) -> None:
    folder.create("taken", b"x")
    with pytest.raises(FileExistsError):
        folder.create("taken", b"y")
    assert list((tmp_path / "store" / ".staging").iterdir()) == []


def test_a_disk_that_fails_is_told_as_unavailable(folder: Store, tmp_path: Path) -> None:
    (tmp_path / "store" / "models").write_bytes(b"a file where a folder should be")
    with pytest.raises(Unavailable):
        folder.create("models/a", b"x")
    with pytest.raises(Unavailable):
        folder.get("models/a")
