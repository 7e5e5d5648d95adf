"""Arrays as other tools store them: read where that is safe, refused with the value at fault and a remedy elsewhere."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data import Dataset, TrainTest, idx, load_dataset
from training.data.dataset import DIGITS
from training.data.npz import read_npz, survey_npz
from training.errors import DataError

ALL = load_dataset("starter").train
STARTER = ALL.select(np.sort(np.concatenate([np.flatnonzero(ALL.labels == label)[:4] for label in range(10)])))
IMAGES, LABELS = STARTER.images, STARTER.labels


def opened(folder: Path, **arrays: Any) -> TrainTest:
    np.savez(folder / "set.npz", **arrays)
    return load_dataset(str(folder / "set.npz"))


def read(folder: Path, images: Any = IMAGES, labels: Any = LABELS, **others: Any) -> Dataset:
    return opened(folder, images=images, labels=labels, **others).train


def test_the_layout_of_keras_has_training_and_test_examples(tmp_path: Path) -> None:
    source = opened(tmp_path, x_train=IMAGES[:30], y_train=LABELS[:30], x_test=IMAGES[30:], y_test=LABELS[30:])
    assert source.test is not None
    assert np.array_equal(source.train.images, IMAGES[:30])
    assert np.array_equal(source.test.labels, LABELS[30:])


@pytest.mark.parametrize(
    "names", [("train_images", "train_labels"), ("X", "y"), ("data", "target"), ("x_train", "y_train")]
)
def test_other_usual_names_are_known(names: tuple[str, str], tmp_path: Path) -> None:
    source = opened(tmp_path, **{names[0]: IMAGES, names[1]: LABELS})
    assert np.array_equal(source.train.images, IMAGES)
    assert source.test is None


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[..., None],
        IMAGES[:, None],
        IMAGES.reshape(40, 784),
        IMAGES / 255,
        (IMAGES / 255).astype(np.float32).reshape(40, 784),
        IMAGES.astype(np.float64),
        IMAGES.astype(np.int64),
    ],
    ids=["trailing 1", "leading 1", "rows", "0 to 1", "0 to 1 in rows", "0 to 255 as floats", "int64"],
)
def test_pictures_of_other_shapes_and_types_come_to_the_same_pixels(images: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(read(tmp_path, images).images, IMAGES)


def test_a_mask_of_zeros_and_ones_is_full_ink(tmp_path: Path) -> None:
    for mask in (IMAGES > 127, (IMAGES > 127).astype(np.uint8), (IMAGES > 127).astype(np.int32)):
        assert np.array_equal(read(tmp_path, mask).images, np.where(IMAGES > 127, 255, 0))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS[:, None], DIGITS),
        (LABELS.astype(np.float64), DIGITS),
        (LABELS.astype(np.uint8), DIGITS),
        (LABELS.astype(str), DIGITS),
        (LABELS.astype("S1"), DIGITS),
        (np.eye(10)[LABELS], DIGITS),
        (LABELS + 1, tuple(map(str, range(1, 11)))),
        (np.array([f"n{label}" for label in LABELS]), tuple(f"n{n}" for n in range(10))),
    ],
    ids=["column", "whole floats", "uint8", "text", "bytes", "one-hot", "from 1", "names"],
)
def test_labels_of_other_forms_come_to_the_same_numbers(
    labels: np.ndarray, classes: tuple[str, ...], tmp_path: Path
) -> None:
    found = read(tmp_path, labels=labels)
    assert np.array_equal(found.labels, LABELS)
    assert found.classes == classes
    surveyed = survey_npz(tmp_path / "set.npz").train
    assert np.array_equal(surveyed.labels, LABELS)
    assert surveyed.classes == classes


def test_text_is_numbered_by_the_classes_that_are_named(tmp_path: Path) -> None:
    names = np.array(["odd", "even"])
    found = read(tmp_path, labels=names[(LABELS % 2 == 0).astype(int)], classes=names)
    assert found.classes == ("odd", "even")
    assert np.array_equal(found.labels, (LABELS % 2 == 0).astype(int))


def test_numbers_above_nine_name_their_classes(tmp_path: Path) -> None:
    letters = np.arange(40) % 26 + 1
    found = read(tmp_path, labels=letters)
    assert found.classes == tuple(map(str, range(1, 27)))
    assert np.array_equal(found.labels, letters - 1)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"labels": LABELS - 1}, r"labels\[\d+\] is -1 .*expected 0 or more: subtract the least"),
        ({"labels": np.where(np.arange(40) == 3, 255, LABELS)}, r"labels\[3\] is 255; expected no gap"),
        ({"labels": LABELS + np.where(np.arange(40) == 5, 0.5, 0)}, r"labels\[5\] is \d\.5; expected whole numbers"),
        ({"labels": np.where(np.arange(40) == 5, np.nan, LABELS)}, r"labels\[5\] is nan; expected whole numbers"),
        ({"labels": LABELS, "classes": np.array(["a", "b"])}, r"labels\[\d+\] is \d .*expected 0 to 1"),
        ({"labels": LABELS, "classes": np.array(["a"] * 10)}, "two classes have the same name"),
        ({"labels": LABELS.astype(str), "classes": np.array(list("abcdefghij"))}, r"labels\[0\] is \d .*one of a, b"),
        ({"labels": np.ones((40, 3))}, "not one-hot"),
        ({"labels": LABELS.reshape(20, 2) + 1}, r"shape \(20, 2\); expected one label for each image"),
        ({"labels": LABELS.astype(object)}, r"Python objects; save labels and classes as text"),
        ({"labels": LABELS.astype(complex)}, "labels.astype"),
        ({"labels": LABELS[:30]}, "40 images but labels of shape"),
        ({"images": IMAGES / 127.5 - 1}, r"goes from -1 to 1; .*scale it"),
        ({"images": IMAGES.astype(int) * 257}, "goes from 0 to 65535; expected 0 to 255"),
        ({"images": np.where(IMAGES > 254, np.nan, IMAGES)}, "not finite"),
        ({"images": IMAGES[:, :20, :20]}, r"got uint8 \(40, 20, 20\); save images of other sizes as a folder"),
        ({"images": np.stack([IMAGES] * 3, -1)}, r"\(40, 28, 28, 3\)"),
        ({"images": IMAGES.astype(str)}, "expected gray values"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place_and_a_remedy(
    arrays: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, **arrays)


def test_arrays_of_other_names_are_told_with_those_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found the arrays a, b; expected images and labels .* x_train, y_train"):
        opened(tmp_path, a=IMAGES, b=LABELS)


@pytest.mark.parametrize("read", [read_npz, survey_npz])
def test_a_bomb_is_refused_before_it_is_unpacked(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 40 * 784 + 200)
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    read(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((41, 28, 28), np.uint8), labels=np.zeros(41, int))
    with pytest.raises(DataError, match=r"images unpacks to 32,.* bytes; at most"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("read", [read_npz, survey_npz])
def test_a_shape_that_no_file_has_and_a_member_that_is_no_array_are_refused(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    described = io.BytesIO()
    np.lib.format.write_array_header_1_0(described, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    for name, content, says in (("images.npy", described.getvalue(), "unpacks to"), ("images", b"x", "no array")):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("labels.npy", "w") as file:
            np.save(file, LABELS)
        with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
            archive.writestr(name, content)
        with pytest.raises(DataError, match=says):
            read(tmp_path / "a.npz")
