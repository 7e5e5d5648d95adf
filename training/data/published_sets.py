"""The four files of MNIST, and of sets published in the same form such as Fashion-MNIST.

They are looked for in GLYPHSERVE_DATA_DIR (or its folder of the set's name), then in the cache, and downloaded into
the cache when they are in neither: MNIST from GLYPHSERVE_MNIST_MIRROR where that is set. Checksums are of the unpacked
content where it is known, so that plain and repacked files pass too.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from training.data import idx
from training.data.dataset import DIGITS, Dataset, Progress, TrainTest
from training.data.labels import class_numbers
from training.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class IdxDataset:
    """A data set that is published as four IDX files."""

    name: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...] = ()
    """Checksums of the decompressed files, in the order of FILES; empty if unknown."""
    packed_sha256: tuple[str, ...] = ()
    """Checksums of the files on the mirrors, checked after download."""
    classes: tuple[str, ...] = field(default=DIGITS)
    """Empty if derived from the labels."""


MNIST = IdxDataset(
    "mnist",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
FASHION = IdxDataset(
    "fashion",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    packed_sha256=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    classes=(
        "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
)  # fmt: skip

PUBLISHED = {published.name: published for published in (MNIST, FASHION)}


def cache_directory() -> Path:
    """Return the download cache: $XDG_CACHE_HOME/glyphserve, by default ~/.cache/glyphserve."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glyphserve"


def load_published(published: IdxDataset, progress: Progress | None = None) -> TrainTest:
    """Find or download the four files, check them and read them.

    Raises DataError that says which file is wrong, or what to do when there is neither a file nor a network.
    """
    folder = find_folder(published)
    if not folder:
        folder = cache_directory() / published.name
        own_mirror = os.environ.get("GLYPHSERVE_MNIST_MIRROR") if published is MNIST else None
        _download(replace(published, mirrors=(own_mirror,)) if own_mirror else published, folder, progress)
    return read_folder(folder, published)


def load_url(address: str, progress: Progress | None = None) -> TrainTest:
    """Download the four files from an http(s) address, of which only the form can be checked, and read them."""
    parts = urlsplit(address)
    name = parts.path.strip("/").rpartition("/")[2] or parts.hostname or "downloaded"
    published = IdxDataset(name, mirrors=(address,), classes=())
    folder = cache_directory() / "addresses" / hashlib.sha256(address.encode()).hexdigest()[:16]
    _download(published, folder, progress)
    return read_folder(folder, published)


def find_folder(published: IdxDataset) -> Path | None:
    """Return the folder with the files: GLYPHSERVE_DATA_DIR with any of them, or the cache with all of them."""
    given = os.environ.get("GLYPHSERVE_DATA_DIR")
    folders = [Path(given) / published.name] if given else []
    if given and published.sha256:  # without checksums, another data set could be mistaken for this one
        folders.append(Path(given))
    for folder in folders:
        if has_files(folder):
            return folder
    cache = cache_directory() / published.name
    return cache if all(_find(cache, name) for name in FILES) else None


def has_files(folder: Path) -> bool:
    """Return whether a folder has any of the four files."""
    return any(_find(folder, name) for name in FILES)


def read_folder(folder: Path, published: IdxDataset | None = None, *, labels_only: bool = False) -> TrainTest:
    """Read the four files of a folder, plain or `.gz`, checked against the published checksums if any.

    With `labels_only` each picture is blank.
    """
    published = published or IdxDataset(folder.name, mirrors=(), classes=())
    paths, arrays = dict[str, Path](), dict[str, np.ndarray]()
    for place, name in enumerate(FILES):
        path = _find(folder, name)
        if not path:
            raise DataError(f"{folder} has no {name} (nor {name}.gz)")
        paths[name] = path
        if "labels" in name or not labels_only:
            arrays[name] = _read(path, published, place)
    labels = {paths[name].name: array for name, array in arrays.items() if "labels" in name}
    numbers, classes = class_numbers(labels, published.classes or None, published.name)
    if labels_only:
        return TrainTest(*(Dataset.of_labels(published.name, each, classes) for each in numbers))
    images = (arrays[name] for name in FILES if "images" in name)
    return TrainTest(
        *(Dataset(published.name, pictures, each, classes) for pictures, each in zip(images, numbers, strict=True))
    )


def _find(folder: Path, name: str) -> Path | None:
    names = (name, name.replace("-idx", ".idx"))  # some tools write the second form
    return next((folder / f"{n}{end}" for n in names for end in ("", ".gz") if (folder / f"{n}{end}").is_file()), None)


def _read(path: Path, published: IdxDataset, place: int) -> np.ndarray:
    """Read and check the file with this index in FILES."""
    content = idx.read_bytes(path)
    if published.sha256:
        _compare(path, content, published.sha256[place], f"the unpacked {published.name}/{FILES[place]}")
    return idx.parse(content, dimensions=1 if "labels" in FILES[place] else 3, name=str(path))


def _download(published: IdxDataset, folder: Path, progress: Progress | None) -> None:
    """Download the files that are missing in the folder."""
    from training.data.download import download  # imports the HTTP client

    for place, name in enumerate(FILES):

        def check(path: Path, place: int = place) -> None:
            if published.packed_sha256:
                _compare(path, path.read_bytes(), published.packed_sha256[place], f"{published.name}/{path.stem}")
            _read(path, published, place)

        if not _find(folder, name):
            download([f"{mirror.rstrip('/')}/{name}.gz" for mirror in published.mirrors], folder, check, progress)


def _compare(path: Path, content: bytes, expected: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is damaged or another file (replace or delete it): "
            f"the SHA-256 of {what} is {expected}, of this it is {found}"
        )
