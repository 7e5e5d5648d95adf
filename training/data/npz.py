"""Data sets in `.npz` files: our own layout, Keras's, and other common ones."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from training.data import idx
from training.data.dataset import Dataset, TrainTest
from training.data.labels import class_numbers
from training.data.pixels import as_pixels, check_shape
from training.errors import DataError

_LAYOUTS = (
    ("images", "labels", "", ""),
    ("x_train", "y_train", "x_test", "y_test"),  # Keras: mnist.npz
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x", "y", "", ""),
    ("data", "target", "", ""),  # scikit-learn
)
_EXPECTED = "expected images and labels (and classes), or Keras's x_train, y_train, x_test and y_test"


def read_npz(path: Path) -> TrainTest:
    """Read a data set from an `.npz` file; see `parse`. Raises DataError that names the file."""
    try:
        with path.open("rb") as file:  # opened here: NumPy does not close broken files
            return parse(file, path.stem)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not an .npz with `images` and `labels`: {error}") from error


def parse(file: BinaryIO, name: str) -> TrainTest:
    """Read a set from an open `.npz`: `images`, `labels` and perhaps `classes`, or another of the known layouts.

    Images and labels are what `as_pixels` and `class_numbers` take. Raises DataError for members that cannot be used,
    ValueError for a file that cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as members:
            pairs = _pairs(members.files)
            _check_members(members.zip, pairs)
            arrays = [(what, where, members[what], members[where]) for what, where in pairs]
            classes = _classes(members, name)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # zipfile, zlib and NumPy raise different types for broken files
        raise ValueError(_advised(str(error))) from error
    numbers, classes = class_numbers({where: labels for _, where, _, labels in arrays}, classes, name)
    parts = [
        Dataset(name, as_pixels(images, f"{name}: {what}"), labels, classes)
        for (what, _, images, _), labels in zip(arrays, numbers, strict=True)
    ]
    return TrainTest(*parts)


def parse_npz(file: BinaryIO, name: str) -> Dataset:
    """Read the training examples of an open `.npz`; see `parse`. Raises ValueError."""
    return parse(file, name).train


def survey_npz(path: Path) -> TrainTest:
    """Read only the labels; images are blank. Raises DataError that names the file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            pairs = _pairs(members.files)
            _check_members(members.zip, pairs)
            labels = {where: members[where] for _, where in pairs}
            classes = _classes(members, path.stem)
            shapes = {what: _header(members.zip, what) for what, _ in pairs}
    except DataError as error:
        raise DataError(f"{path.stem}: {error}") from None
    except Exception as error:
        raise DataError(f"{path} is not an .npz with `images` and `labels`: {_advised(str(error))}") from error
    for what, (shape, dtype) in shapes.items():
        check_shape(shape, dtype, f"{path.stem}: {what}")
    numbers, classes = class_numbers(labels, classes, path.stem)
    for (what, where), found in zip(pairs, numbers, strict=True):
        if shapes[what][0][0] != len(found):
            raise DataError(f"{path.stem}: {what} has {shapes[what][0][0]:,} images, {where} {len(found):,} labels")
    return TrainTest(*(Dataset.of_labels(path.stem, found, classes) for found in numbers))


def _check_members(archive: zipfile.ZipFile, pairs: list[tuple[str, str]]) -> None:
    """Check the sizes of members before decompression: a few bytes can stand for gigabytes. Raises DataError."""
    for name in (name for pair in pairs for name in pair):
        if f"{name}.npy" not in archive.NameToInfo:
            raise DataError(f"{name} is no array that numpy.savez wrote")
        shape, dtype = _header(archive, name)
        size = max(archive.getinfo(f"{name}.npy").file_size, math.prod(shape) * dtype.itemsize)
        if size > idx.MAX_BYTES:
            raise DataError(
                f"{name} unpacks to {size:,} bytes; at most {idx.MAX_BYTES:,} are read: save pixels as uint8, or less"
            )


def _header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(f"{member}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _pairs(files: list[str]) -> list[tuple[str, str]]:
    """Return the names of the members with images and labels of the training split, then of the test split."""
    found = {name.lower(): name for name in files}
    for images, labels, test_images, test_labels in _LAYOUTS:
        if images in found and labels in found:
            pairs = [(found[images], found[labels])]
            if test_images in found and test_labels in found:
                pairs.append((found[test_images], found[test_labels]))
            return pairs
    raise DataError(f"found the arrays {', '.join(files[:20]) or 'none'}; {_EXPECTED}")


def _classes(members: Mapping[str, np.ndarray], name: str) -> tuple[str, ...] | None:
    if "classes" not in members:
        return None
    classes = members["classes"]
    if classes.ndim != 1:
        raise DataError(f"{name}: classes has the shape {classes.shape}; expected one name for each class")
    return tuple(map(str, classes))


def _advised(reason: str) -> str:
    if "Object arrays" in reason:
        return "it holds Python objects; save labels and classes as text, labels.astype(str)"
    return reason
