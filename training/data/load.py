"""The one way to name a source of examples: `starter`, a published set, an address, or a path."""

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
    """Open a source by its name.

    That is `starter`, `mnist` or `fashion`; an `http(s)://…` folder of four IDX files; or a path, perhaps written
    `file://…`, to a folder of four IDX files (MNIST's or EMNIST's names), a folder with a folder of images for each
    class, or an `.npz` of `images` and `labels` or of Keras's arrays. With `skip_unreadable` files of a
    folder that are no pictures, damaged or blank are left out. Raises DataError that says what was expected where,
    UnknownDataError for a name that names nothing.
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
    """Give the path that a name says, perhaps written `file://…`."""
    if not name.startswith("file://"):
        return Path(name)
    from urllib.request import url2pathname  # which imports all of HTTP

    return Path(url2pathname(urlsplit(name).path))


def unknown(name: str) -> UnknownDataError:
    """Make the error for a name that names nothing."""
    known = ", ".join(["starter", *PUBLISHED])
    return UnknownDataError(
        f"there is no data set {name!r}: it is none of {known}, and no such folder or .npz file exists"
    )


def starter() -> Dataset:
    """Read the bundled starter set: 5,000 images of MNIST's training set, 500 of each digit, in a mixed order."""
    with resources.as_file(resources.files("training.data") / "starter.npz") as path:
        return read_npz(path).train
