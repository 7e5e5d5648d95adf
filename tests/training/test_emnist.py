"""EMNIST's files: pictures turned upright, letters numbered from 1, classes by the set's name."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_published_sets import encoded
from training.data import emnist, load_dataset
from training.errors import DataError

PICTURES = load_dataset("starter").train.images[:52]


def write(folder: Path, split: str, labels: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    turned = PICTURES[: len(labels)].transpose(0, 2, 1)
    for part in ("train", "test"):
        for what, array in (("images-idx3", turned), ("labels-idx1", labels)):
            (folder / f"emnist-{split}-{part}-{what}-ubyte.gz").write_bytes(gzip.compress(encoded(array)))
    return folder


def test_letters_are_upright_and_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "letters", "letters", np.arange(52) % 26 + 1)
    source = load_dataset(str(folder))
    assert "".join(source.train.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert np.array_equal(source.train.images, PICTURES)
    assert np.array_equal(source.train.labels, np.arange(52) % 26)
    assert source.test is not None


@pytest.mark.parametrize(("split", "count"), [("balanced", 47), ("byclass", 62), ("digits", 10)])
def test_each_set_has_its_classes(split: str, count: int, tmp_path: Path) -> None:
    source = load_dataset(str(write(tmp_path / "set", split, np.arange(52) % count)))
    assert len(source.train.classes) == count


def test_several_sets_in_one_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "letters", np.arange(52) % 26 + 1)
    next(folder.glob("*test-labels*")).unlink()
    with pytest.raises(DataError, match="has no emnist-letters-test-labels-idx1-ubyte"):
        load_dataset(str(folder))
    write(folder, "digits", np.arange(10))
    with pytest.raises(DataError, match="has the EMNIST sets digits, letters; keep the files of one"):
        load_dataset(str(folder))
    assert emnist.has_files(folder)


def test_letters_under_the_names_of_mnist_have_more_than_ten_classes(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images.idx3-ubyte").write_bytes(encoded(PICTURES))
        (tmp_path / f"{part}-labels.idx1-ubyte").write_bytes(encoded(np.arange(52) % 26 + 1))
    source = load_dataset(str(tmp_path))
    assert source.train.classes == tuple(map(str, range(1, 27)))
    assert np.array_equal(source.train.labels, np.arange(52) % 26)
