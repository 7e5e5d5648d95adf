"""A folder that was read is not read again, unless anything in it has changed."""

import os
from pathlib import Path

import numpy as np
import pytest

from training.data import Dataset, image_folder_cache, load_dataset, save_image_folder
from training.data.image_folder import read_images
from training.errors import DataError


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "glyphserve" / "folders"


@pytest.fixture
def folder(tmp_path: Path, entries: Path) -> Path:  # noqa: ARG001 -- the cache is elsewhere before anything is read
    some = load_dataset("starter").train.select(np.arange(120))
    save_image_folder(some, tmp_path / "set")
    return tmp_path / "set"


def same(one: Dataset | None, other: Dataset | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.name, one.classes, one.skipped, one.fingerprint()) == (
        *(other.name, other.classes, other.skipped),
        other.fingerprint(),
    )


def spoil(path: Path) -> None:
    """Change a file's content, but neither its size nor its time."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_was_read_is_given_again_without_a_look_at_the_pictures(folder: Path, entries: Path) -> None:
    first = load_dataset(str(folder)).train
    assert same(first, read_images(folder).train)
    assert len([*entries.iterdir()]) == 1
    for path in folder.rglob("*.png"):
        spoil(path)
    assert same(load_dataset(str(folder)).train, first)


def test_any_change_of_a_file_is_seen(folder: Path, entries: Path) -> None:
    first = load_dataset(str(folder)).train
    picture = next(folder.rglob("*.png"))
    content = picture.read_bytes()
    os.utime(picture, ns=(0, 0))
    picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="is not an image"):
        load_dataset(str(folder))
    left_out = load_dataset(str(folder), skip_unreadable=True).train
    assert left_out.skipped == (picture.relative_to(folder).as_posix(),)
    assert same(load_dataset(str(folder), skip_unreadable=True).train, left_out)
    with pytest.raises(DataError, match="is not an image"):  # what was left out is known to that setting alone
        load_dataset(str(folder))
    picture.write_bytes(content)
    assert same(load_dataset(str(folder)).train, first)
    picture.rename(picture.with_name("other.png"))
    assert load_dataset(str(folder)).train.fingerprint() == read_images(folder).train.fingerprint()
    picture.with_name("other.png").unlink()
    assert len(load_dataset(str(folder)).train) == 119
    assert entries.is_dir()


def test_both_parts_of_a_folder_are_kept(tmp_path: Path, entries: Path) -> None:
    digits = load_dataset("starter").train
    save_image_folder(digits.select(np.arange(100)), tmp_path / "set" / "train")
    save_image_folder(digits.select(np.arange(100, 150)), tmp_path / "set" / "test")
    expected = read_images(tmp_path / "set")
    for _ in range(2):
        found = load_dataset(str(tmp_path / "set"))
        assert same(found.train, expected.train)
        assert same(found.test, expected.test)
    assert len([*entries.iterdir()]) == 1


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_a_damaged_entry_costs_a_reading_and_no_more(folder: Path, entries: Path, damage: bytes | None) -> None:
    first = load_dataset(str(folder)).train
    (entry,) = entries.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) // 2
    entry.write_bytes(damage if damage is not None else whole[:middle] + bytes(50) + whole[middle + 50 :])
    assert same(load_dataset(str(folder)).train, first)
    assert entry.read_bytes()[:4] == whole[:4]


def test_a_cache_that_cannot_be_written_hinders_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    for _ in range(2):
        assert len(load_dataset(str(folder)).train) == 120


def test_what_is_kept_is_bounded(folder: Path, entries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder_cache, "_MAX_ENTRIES", 2)
    picture = next(folder.rglob("*.png"))
    for second in range(4):
        os.utime(picture, (second, second))
        load_dataset(str(folder))
    assert len([*entries.iterdir()]) == 2
    monkeypatch.setattr(image_folder_cache, "_MAX_BYTES", 1000)
    os.utime(picture, (9, 9))
    load_dataset(str(folder))
    assert not [*entries.iterdir()]
