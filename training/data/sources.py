"""The one way to name a source of examples: `starter`, a published set, an address, or a path."""

from importlib import resources
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np

from training.data.dataset import DIGITS, Dataset, Progress, Source
from training.data.folder import read_images
from training.data.mnist import PUBLISHED, has_files, open_address, open_published, read_folder
from training.errors import DataError


def open_source(name: str, progress: Progress | None = None) -> Source:
    """Open a source by its name.

    That is `starter`, `mnist` or `fashion`; an `http(s)://…` folder of four IDX files; or a path, perhaps written
    `file://…`, to a folder of four IDX files, a folder with a folder of images for each class, or an `.npz` of
    `images` and `labels`. Raises DataError that says what was expected where.
    """
    if name == "starter":
        return Source(starter())
    if name in PUBLISHED:
        return open_published(PUBLISHED[name], progress)
    if name.startswith(("http://", "https://")):
        return open_address(name, progress)
    path = _of_address(name) if name.startswith("file://") else Path(name)
    if path.suffix == ".npz" and path.is_file():
        return Source(read_npz(path))
    if name and path.is_dir():
        return read_folder(path) if has_files(path) else read_images(path)
    known = ", ".join(["starter", *PUBLISHED])
    raise DataError(f"there is no data set {name!r}: it is none of {known}, and no such folder or .npz file exists")


def _of_address(address: str) -> Path:
    from urllib.request import url2pathname  # which imports all of HTTP

    return Path(url2pathname(urlsplit(address).path))


def starter() -> Dataset:
    """Read the bundled starter set: 5,000 images of MNIST's training set, 500 of each digit, in a mixed order."""
    with resources.as_file(resources.files("training.data") / "starter.npz") as path:
        return read_npz(path)


def read_npz(path: Path) -> Dataset:
    """Read a set from an `.npz` file; see `parse_npz`."""
    try:
        # Opened here, because NumPy leaves the file open when it turns out to be broken.
        with path.open("rb") as file:
            return parse_npz(file, path.stem)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not an .npz with `images` and `labels`: {error}") from error


def parse_npz(file: BinaryIO, name: str) -> Dataset:
    """Read a set of `images` uint8 (n, 28, 28), `labels` (n,) and perhaps `classes` (k,) of text. Raises ValueError."""
    try:
        with np.load(file, allow_pickle=False) as members:
            images, labels = members["images"], members["labels"].astype(np.int64)
            classes = tuple(map(str, members["classes"])) if "classes" in members else DIGITS
    except Exception as error:  # zipfile, zlib and NumPy raise six different types for a broken file
        raise ValueError(str(error)) from error
    return Dataset(name, images, labels, classes)
