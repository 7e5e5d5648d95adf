"""The four files: found, downloaded, checked, read. Small ones of the same form stand in for MNIST's own."""

import gzip
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.file_server import FileServer, serving
from training.data import Dataset, load, load_dataset
from training.data.published_sets import (
    FASHION,
    FILES,
    MNIST,
    IdxDataset,
    cache_directory,
    find_folder,
    load_published,
    read_folder,
)
from training.data.survey import survey
from training.errors import DataError, UnknownDataError

LABELS = np.arange(30) % 10
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 28, 28)).astype(np.uint8)


def encoded(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


CONTENTS = [encoded(array) for array in (IMAGES, LABELS, IMAGES[:10], LABELS[:10])]
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in zip(FILES, CONTENTS, strict=True)}
SHA256 = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS)


@pytest.fixture(autouse=True)
def no_files_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLYPHSERVE_DATA_DIR", raising=False)
    monkeypatch.delenv("GLYPHSERVE_MNIST_MIRROR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "four").mkdir()
    for name, content in zip(FILES, CONTENTS, strict=True):
        (tmp_path / "four" / name).write_bytes(content)
    return tmp_path / "four"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(dict(PACKED)) as server:
        yield server


@pytest.fixture
def published(server: FileServer) -> IdxDataset:
    return IdxDataset("small", mirrors=(server.address,), sha256=SHA256)


def test_a_folder_of_four_files_is_a_source_plain_or_packed(folder: Path) -> None:
    (folder / FILES[0]).unlink()
    (folder / f"{FILES[0]}.gz").write_bytes(PACKED[f"{FILES[0]}.gz"])
    source = load_dataset(str(folder))
    assert source.test is not None
    np.testing.assert_array_equal(source.train.images, IMAGES)
    np.testing.assert_array_equal(source.train.labels, LABELS)
    assert len(source.test) == 10
    assert source.train.name == "four"


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / FILES[3]).unlink()
    with pytest.raises(DataError, match=f"has no {FILES[3]}"):
        load_dataset(str(folder))


@pytest.mark.parametrize(
    ("place", "content", "says"),
    [
        (1, encoded(LABELS[:29]), "30 images but labels of shape"),
        (1, encoded(np.where(np.arange(30) == 7, 255, LABELS)), r"labels-idx1-ubyte\[7\] is 255; expected no gap"),
        (0, encoded(IMAGES[:, :20, :20]), r"expected images of uint8 \(n, 28, 28\), got uint8 \(30, 20, 20\)"),
        (0, encoded(LABELS), "not an IDX file of unsigned bytes in 3 dimensions"),
        (2, CONTENTS[2][:-1], "its header .* promises"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(place: int, content: bytes, says: str, folder: Path) -> None:
    (folder / FILES[place]).write_bytes(content)
    with pytest.raises(DataError, match=says):
        load_dataset(str(folder))


def test_a_file_that_is_not_the_published_one_is_refused_by_name(folder: Path, published: IdxDataset) -> None:
    assert len(read_folder(folder, published).train) == 30
    (folder / FILES[2]).write_bytes(encoded(IMAGES[1:11]))
    with pytest.raises(DataError, match=rf"{FILES[2]} is damaged or another file \(replace or delete it\)"):
        read_folder(folder, published)


def test_files_are_downloaded_once_and_found_in_the_cache_afterwards(server: FileServer, published: IdxDataset) -> None:
    for _ in range(2):
        assert len(load_published(published).train) == 30
        assert [name for name, _ in server.requests] == list(PACKED)
    server.files.clear()
    assert len(load_published(published).train) == 30


def test_a_download_that_was_interrupted_between_files_goes_on(server: FileServer, published: IdxDataset) -> None:
    late = {name: server.files.pop(name) for name in list(PACKED)[2:]}
    with pytest.raises(DataError, match=FILES[2]):
        load_published(published)
    server.files |= late
    assert len(load_published(published).train) == 30


@pytest.mark.parametrize("wrong", [gzip.compress(encoded(IMAGES[::-1])), PACKED[f"{FILES[0]}.gz"][:-9], b"<html>"])
def test_a_wrong_or_truncated_file_never_enters_the_cache(
    wrong: bytes, server: FileServer, published: IdxDataset
) -> None:
    server.files[f"{FILES[0]}.gz"] = wrong
    with pytest.raises(DataError, match="could not be downloaded"):
        load_published(published)
    assert not list((cache_directory() / "small").iterdir())
    server.files |= PACKED
    assert len(load_published(published).train) == 30


def test_packed_checksums_hold_for_the_files_of_the_mirrors(server: FileServer) -> None:
    packed = tuple(hashlib.sha256(content).hexdigest() for content in PACKED.values())
    published = IdxDataset("packed", mirrors=(server.address,), packed_sha256=packed)
    assert len(load_published(published).train) == 30
    wrong = replace(published, name="wrong", packed_sha256=(packed[1], *packed[1:]))
    with pytest.raises(DataError, match=rf"the SHA-256 of wrong/{FILES[0]}\.gz is"):
        load_published(wrong)


def test_a_given_folder_wins_over_the_cache_with_the_sets_own_folder_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = IdxDataset("four", mirrors=(), sha256=SHA256)
    for given in (folder, folder.parent):
        monkeypatch.setenv("GLYPHSERVE_DATA_DIR", str(given))
        assert len(load_published(published).train) == 30
    (folder / FILES[1]).unlink()
    with pytest.raises(DataError, match=f"has no {FILES[1]}"):
        load_published(published)


def test_a_given_folder_of_another_set_is_not_taken_for_one_whose_content_cannot_be_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchecked = IdxDataset("clothes", mirrors=())
    monkeypatch.setenv("GLYPHSERVE_DATA_DIR", str(folder))
    assert find_folder(unchecked) is None
    folder.rename(folder.parent / "clothes")
    monkeypatch.setenv("GLYPHSERVE_DATA_DIR", str(folder.parent))
    assert find_folder(unchecked) == folder.parent / "clothes"


def test_mnist_comes_from_the_mirror_that_is_set_and_from_no_other(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_MNIST_MIRROR", f"{server.address}/some/folder/")
    with pytest.raises(DataError, match=f"the SHA-256 of the unpacked mnist/{FILES[0]} is {MNIST.sha256[0]}") as caught:
        load_dataset("mnist")
    assert [name for name, _ in server.requests] == [f"{FILES[0]}.gz"]
    assert not any(mirror in str(caught.value) for mirror in MNIST.mirrors)


def test_an_address_is_a_source_whose_form_is_checked(server: FileServer) -> None:
    for _ in range(2):
        source = load_dataset(f"{server.address}/sets/letters/")
        assert source.train.name == "letters"
        assert len(source.train) == 30
    assert len(server.requests) == 4
    server.files[f"{FILES[0]}.gz"] = gzip.compress(b"no idx file at all")
    with pytest.raises(DataError, match="not an IDX file"):
        load_dataset(f"{server.address}/sets/other")


def test_an_npz_is_a_source_with_or_without_names_of_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", images=IMAGES, labels=LABELS)
    np.savez(tmp_path / "named.npz", images=IMAGES, labels=LABELS % 2, classes=np.array(["even", "odd"]))
    assert load_dataset(str(tmp_path / "plain.npz")).train.classes == Dataset("", IMAGES, LABELS).classes
    assert load_dataset((tmp_path / "named.npz").as_uri()).train.classes == ("even", "odd")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(40)])
def test_a_broken_npz_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz is not an \.npz with `images` and `labels`"):
        load_dataset(str(tmp_path / "broken.npz"))


def test_an_npz_of_other_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=IMAGES)
    with pytest.raises(DataError, match="images"):
        load_dataset(str(tmp_path / "other.npz"))


@pytest.mark.parametrize("name", ["", "nowhere", "/no/such/folder", "file:///no/such/folder", "ftp://host/x"])
def test_a_name_that_names_nothing_is_answered_with_what_there_is(name: str) -> None:
    for open_it in (load_dataset, survey):
        with pytest.raises(UnknownDataError, match="none of starter, mnist, fashion"):
            open_it(name)


def test_an_address_of_a_file_is_surveyed_as_it_is_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a set.npz", images=IMAGES, labels=LABELS)
    address = (tmp_path / "a set.npz").as_uri()
    surveyed = survey(address)
    assert surveyed is not None
    assert np.array_equal(surveyed.train.labels, load_dataset(address).train.labels)


def test_the_bundled_starter_set_is_balanced_and_mixed() -> None:
    starter = load.starter()
    assert np.bincount(starter.labels).tolist() == [500] * 10
    assert len(np.unique(starter.labels[:50])) == 10
    assert len(np.unique(starter.images.reshape(5000, -1), axis=0)) == 5000


def test_every_published_set_has_a_checksum_for_every_file() -> None:
    assert [len(MNIST.sha256), len(FASHION.packed_sha256)] == [4, 4]


@pytest.mark.mnist
def test_mnist_is_what_was_published_and_holds_the_starter_set(mnist_source: Path) -> None:
    source = read_folder(mnist_source, MNIST)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (60_000, 10_000)
    pictures = {picture.tobytes() for picture in source.train.images}
    assert all(picture.tobytes() in pictures for picture in load.starter().images)
