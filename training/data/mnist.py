"""The four files of MNIST, and of sets published in the same form such as Fashion-MNIST.

They are looked for in GLYPHSERVE_DATA_DIR (or its folder of the set's name), then in the cache, and downloaded into
the cache when they are in neither. Checksums are of the unpacked content, so plain and repacked files pass too.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data import idx
from training.data.dataset import DIGITS, Dataset, Source
from training.data.download import Progress, download
from training.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Published:
    """A set published as four IDX files."""

    name: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...] = ()
    """Of the four unpacked files, in the order of FILES; empty when only their form can be checked."""
    classes: tuple[str, ...] = field(default=DIGITS)


MNIST = Published(
    "mnist",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
FASHION = Published(
    "fashion",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    classes=(
        "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
)  # fmt: skip

PUBLISHED = {published.name: published for published in (MNIST, FASHION)}


def cache_directory() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/glyphserve, by default ~/.cache/glyphserve."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glyphserve"


def open_published(published: Published, progress: Progress | None = None) -> Source:
    """Find or download the four files, check them and read them.

    Raises DataError that says which file is wrong, or what to do when there is neither a file nor a network.
    """
    if folder := find_folder(published):
        return read_folder(folder, published)
    cache = cache_directory() / published.name
    for name in FILES:
        download([f"{mirror}{name}.gz" for mirror in published.mirrors], cache / f"{name}.gz", progress)
    return read_folder(cache, published)


def find_folder(published: Published) -> Path | None:
    """Find the folder that has the files already, given or cached."""
    given = os.environ.get("GLYPHSERVE_DATA_DIR")
    folders = [Path(given) / published.name, Path(given)] if given else []
    return next((f for f in [*folders, cache_directory() / published.name] if _find(f, FILES[0])), None)


def read_folder(folder: Path, published: Published | None = None) -> Source:
    """Read the four files of a folder, plain or `.gz`, checked against the published checksums if any."""
    published = published or Published(folder.name, mirrors=())
    arrays = []
    for place, name in enumerate(FILES):
        path = _find(folder, name)
        if not path:
            raise DataError(f"{folder} has no {name} (nor {name}.gz)")
        content = idx.read_bytes(path)
        if published.sha256 and hashlib.sha256(content).hexdigest() != published.sha256[place]:
            raise DataError(
                f"{path} is damaged or not {published.name}'s: the SHA-256 of its unpacked content should be "
                f"{published.sha256[place]}; delete it to have it downloaded again"
            )
        arrays.append(idx.parse(content, dimensions=1 if "labels" in name else 3, name=str(path)))
    return Source(
        train=Dataset(published.name, arrays[0], arrays[1].astype(np.int64), published.classes),
        test=Dataset(published.name, arrays[2], arrays[3].astype(np.int64), published.classes),
    )


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
