"""Folders of images, one folder per class: the form in which people collect pictures.

    digits/0/*.png  digits/1/*.jpg  …          or with a part for testing:  digits/train/0/…  digits/test/0/…

Pictures may be of any size and of any format that Pillow reads; they come through the same preprocessing as those
that are sent to be recognised. Class names are the folders' names, sorted. Names that begin with a dot are passed over.
"""

from pathlib import Path

import numpy as np

from training.arrays import Pixels
from training.data.dataset import Dataset, Source
from training.errors import DataError
from training.pictures import to_gray
from training.preprocess import to_glyph

PARTS = ("test", "train")


def read_images(folder: Path) -> Source:
    """Read a folder of images. Raises DataError that names the file or folder, and what was expected of it."""
    if tuple(path.name for path in _folders(folder)) != PARTS:
        return Source(_read_classes(folder, folder.name))
    test, train = (_read_classes(folder / part, folder.name) for part in PARTS)
    if test.classes != train.classes:
        raise DataError(f"{folder}: train has the classes {train.classes}, but test has {test.classes}")
    return Source(train, test)


def write_images(dataset: Dataset, folder: Path) -> None:
    """Write a set as PNG files `<class>/<row>.png`, which `read_images` takes back pixel for pixel.

    Raises DataError when the folder holds something already, or a class's name cannot name a folder.
    """
    from PIL import Image

    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; expected a new or an empty folder to write {dataset.name} into")
    for name in dataset.classes:
        if not name or Path(name).name != name or name.startswith(".") or "\\" in name:
            raise DataError(f"the class {name!r} of {dataset.name} cannot be the name of a folder")
    digits = len(str(len(dataset)))
    for row, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        target = folder / dataset.classes[label] / f"{row:0{digits}}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)


def _read_classes(folder: Path, name: str) -> Dataset:
    classes = _folders(folder)
    if not classes:
        raise DataError(f"{folder} has no folders; expected one folder of images for each class, named as the class")
    images, labels = [], []
    for label, class_folder in enumerate(classes):
        files = sorted(path for path in class_folder.iterdir() if not path.name.startswith("."))
        if not files:
            raise DataError(f"{class_folder} is empty; expected images of the class {class_folder.name!r}")
        images += [_read_image(file) for file in files]
        labels += [label] * len(files)
    return Dataset(name, np.stack(images), np.array(labels), tuple(path.name for path in classes))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_image(file: Path) -> Pixels:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError("reading a folder of images needs Pillow: pip install pillow") from None
    try:
        with Image.open(file) as image:
            return to_glyph(to_gray(image))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except UnidentifiedImageError:
        raise DataError(f"{file} is not an image; expected one that Pillow can read, such as PNG or JPEG") from None
    except Exception as error:  # decoders raise a dozen types for damaged files
        raise DataError(f"{file} is damaged and cannot be read as an image: {error}") from error
