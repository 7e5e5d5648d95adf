from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
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


def test_keys_cannot_leave_the_store(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="path"):
        store.put("../outside", b"x")
    assert not (tmp_path / "outside").exists()
