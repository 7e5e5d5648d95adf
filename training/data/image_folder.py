"""Image folders with one folder per class:

    digits/0/*.png  digits/1/*.jpg  …          or with a test split:  digits/train/0/…  digits/test/0/…

Images may have any size and any format that Pillow reads; they are preprocessed like those sent to the service. Class
names are the sorted folder names. Names that begin with a dot are ignored, and so are files of operating systems
(IGNORED).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.data.dataset import Dataset, TrainTest
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import normalize_glyph
from training.vision.image_io import MAX_PIXELS, check_size, to_gray
from training.vision.image_segments import check_segments

if TYPE_CHECKING:
    from PIL import Image

PARTS = ("test", "train")
IGNORED = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r", "$recycle.bin", "system volume information",
        "lost+found", "@eadir", "__pycache__",
    }
)  # fmt: skip
"""Names of files and folders to ignore, in lower case."""

_OTHER_PARTS = frozenset({"val", "valid", "validation", "dev", "eval", "testing", "training", "tests"})
_MAX_NAMED = 20
"""Number of unreadable files that an error names."""

Files = tuple[tuple[Path, ...], ...]
"""The files of each class."""


def list_images(folder: Path) -> dict[str, tuple[tuple[str, ...], Files]]:
    """Return the classes and files of each split: {"train": (classes, files), "test": …}, or only "train".

    Opens no image. Raises DataError that names the folder and what was expected.
    """
    named = {path.name: path for path in _folders(folder)}
    if tuple(named) == PARTS:
        parts = {part: _list_classes(named[part]) for part in ("train", "test")}
        (train, _), (test, _) = parts["train"], parts["test"]
        if test != train:
            raise DataError(f"{folder}: train has the classes {train}, but test has {test}")
        return parts
    parted = [name for name in named if name.lower() in {*PARTS, *_OTHER_PARTS}]
    if any(_folders(named[name]) for name in parted):
        raise DataError(
            f"{folder} has the folders {', '.join(named)}; expected a folder for each class, or the two folders train "
            "and test with the classes in them: rename or move the others"
        )
    return {"train": _list_classes(folder)}


def read_images(folder: Path, *, skip_unreadable: bool = False) -> TrainTest:
    """Read an image folder.

    Raises DataError that names the folder or all unreadable files; with `skip_unreadable` these are left out and
    listed in `Dataset.skipped`.
    """
    try:
        import PIL as PIL
    except ImportError:
        raise DataError("reading a folder of images needs Pillow: pip install pillow") from None
    parts, faults = list[Dataset](), list[str]()
    for part, (classes, files) in list_images(folder).items():
        images, labels, skipped = list[Pixels](), list[int](), list[str]()
        for label, paths in enumerate(files):
            for path in paths:
                try:
                    images.append(_read_image(path))
                    labels.append(label)
                except DataError as error:
                    faults.append(str(error))
                    skipped.append(path.relative_to(folder).as_posix())
        if not images:
            raise DataError(f"{folder} has no image that can be read for {part}: {_listed(faults)}")
        parts.append(Dataset(folder.name, np.stack(images), np.array(labels), classes, tuple(skipped)))
    if faults and not skip_unreadable:
        raise DataError(f"{_listed(faults)}; mend or delete them, or leave them out with skip_unreadable=true")
    return TrainTest(*parts)


def save_image_folder(dataset: Dataset, folder: Path) -> None:
    """Write a data set as PNG files `<class>/<row>.png`, which `read_images` reads back exactly.

    Raises DataError if the folder is not empty, or a class name is not a valid folder name.
    """
    from PIL import Image

    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; expected a new or an empty folder to write {dataset.name} into")
    for name in dataset.classes:
        if not name or Path(name).name != name or "\\" in name or _is_ignored(Path(name)):
            raise DataError(f"the class {name!r} of {dataset.name} cannot be the name of a folder")
    digits = len(str(len(dataset)))
    for row, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        target = folder / dataset.classes[label] / f"{row:0{digits}}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)


def _list_classes(folder: Path) -> tuple[tuple[str, ...], Files]:
    classes = _folders(folder)
    if not classes:
        raise DataError(f"{folder} has no folders; expected one folder of images for each class, named as the class")
    listed = []
    for class_folder in classes:
        files = _entries(class_folder)
        if not files:
            raise DataError(f"{class_folder} is empty; expected images of the class {class_folder.name!r}")
        if inner := [path.name for path in files if path.is_dir()]:
            others = f" and {len(inner) - 1:,} more" if len(inner) > 1 else ""
            raise DataError(
                f"{class_folder / inner[0]} is a folder{others}; expected only images in the folder of the class "
                f"{class_folder.name!r}"
            )
        listed.append(tuple(files))
    return tuple(path.name for path in classes), tuple(listed)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_ignored(path))


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in IGNORED


def _listed(faults: Sequence[str]) -> str:
    """Return the first faults and the number of others."""
    more = f"; and {len(faults) - _MAX_NAMED:,} more files" if len(faults) > _MAX_NAMED else ""
    return "; ".join(faults[:_MAX_NAMED]) + more


@contextmanager
def open_image(file: Path) -> Iterator["Image.Image"]:
    """Open an image without decoding it.

    Raises DataError if it is too large or has too many segments, and what Pillow raises.
    """
    from PIL import Image

    check_segments(file.read_bytes())
    try:
        with Image.open(file) as image:
            check_size(*image.size)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # above Pillow's limit
        raise DataError(f"the image has more than {MAX_PIXELS:,} pixels: make it smaller") from None


def _read_image(file: Path) -> Pixels:
    from PIL import UnidentifiedImageError

    try:
        with open_image(file) as image:
            return normalize_glyph(to_gray(image))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except UnidentifiedImageError:
        raise DataError(f"{file} is not an image; expected one that Pillow can read, such as PNG or JPEG") from None
    except Exception as error:  # decoders raise many types for damaged files
        raise DataError(f"{file} is damaged and cannot be read as an image: {error}") from error
