"""Loading data sets by name: `starter`, a published set, a URL or a path."""

from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from training.data import emnist
from training.data.dataset import Dataset, Progress, TrainTest
from training.data.image_folder_cache import read_images_once
from training.data.npz import read_npz
from training.data.published_sets import PUBLISHED, has_files, load_published, load_url, read_folder
from training.errors import UnknownDataError


def load_dataset(name: str, progress: Progress | None = None, *, skip_unreadable: bool = False) -> TrainTest:
    """Load a data set by name.

    The name is `starter`, `mnist` or `fashion`; the `http(s)://…` URL of a folder with four IDX files; or a path or
    `file://…` URL of a folder with four IDX files (named as in MNIST or EMNIST), a folder with one folder of images per
    class, or an `.npz` with `images` and `labels` or another known layout. With `skip_unreadable`, damaged and blank
    files of image folders are left out. Raises DataError for invalid data, UnknownDataError for an unknown name.
    """
    if name == "starter":
        return TrainTest(starter())
    if name in PUBLISHED:
        return load_published(PUBLISHED[name], progress)
    if name.startswith(("http://", "https://")):
        return load_url(name, progress)
    path = path_of(name)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path)
    if name and path.is_dir():
        if emnist.has_files(path):
            return emnist.read_folder(path)
        return read_folder(path) if has_files(path) else read_images_once(path, skip_unreadable=skip_unreadable)
    raise unknown(name)


def path_of(name: str) -> Path:
    """Return the path that a name or `file://` URL stands for."""
    if not name.startswith("file://"):
        return Path(name)
    from urllib.request import url2pathname  # imports the HTTP client

    return Path(url2pathname(urlsplit(name).path))


def unknown(name: str) -> UnknownDataError:
    """Build the error for an unknown name."""
    known = ", ".join(["starter", *PUBLISHED])
    return UnknownDataError(
        f"there is no data set {name!r}: it is none of {known}, and no such folder or .npz file exists"
    )


def starter() -> Dataset:
    """Load the bundled starter set: 5,000 images of MNIST's training set, 500 of each digit, shuffled."""
    with resources.as_file(resources.files("training.data") / "starter.npz") as path:
        return read_npz(path).train
