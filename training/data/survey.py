"""Fast reading of the labels of a data set, without decoding its images."""

from functools import cache
from pathlib import Path

import numpy as np

from training.data import emnist
from training.data.dataset import DIGITS, Dataset, TrainTest
from training.data.image_folder import list_images, open_image
from training.data.load import path_of, starter, unknown
from training.data.npz import survey_npz
from training.data.published_sets import PUBLISHED, find_folder, has_files, read_folder
from training.errors import DataError

_MAX_OPENED = 1000
"""Number of files of a folder whose headers are checked."""


def survey(name: str, *, skip_unreadable: bool = False) -> TrainTest | None:
    """Read the labels of a source as `load_dataset` takes it; its images are blank. None for a URL.

    Of a published set that is not here, ten examples of each class stand for all. Raises DataError for a source that
    is missing, or is seen to be damaged by its names, its labels and the beginnings of its first 1,000 files.
    """
    if name.startswith(("http://", "https://")):
        return None
    if name == "starter":
        return _starter()
    if published := PUBLISHED.get(name):
        if folder := find_folder(published):
            return read_folder(folder, published, labels_only=True)
        return TrainTest(Dataset.of_labels(name, np.arange(100) % 10, published.classes))
    path = path_of(name)
    if path.suffix == ".npz" and path.is_file():
        return survey_npz(path)
    if emnist.has_files(path):
        return emnist.read_folder(path, labels_only=True)
    if has_files(path):
        return read_folder(path, labels_only=True)
    if not name or not path.is_dir():
        raise unknown(name)
    return _survey_images(path, skip_unreadable=skip_unreadable)


@cache
def _starter() -> TrainTest:
    return TrainTest(Dataset.of_labels("starter", starter().labels, DIGITS))


def _survey_images(folder: Path, *, skip_unreadable: bool) -> TrainTest:
    from PIL import UnidentifiedImageError

    parts, faults, opened = list[Dataset](), list[str](), 0
    for classes, files in list_images(folder).values():
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
        parts.append(Dataset.of_labels(folder.name, labels, classes))
        for path in (path for paths in files for path in paths):
            if skip_unreadable or opened == _MAX_OPENED:
                break
            opened += 1
            try:
                with open_image(path):  # reads only the header
                    pass
            except DataError as error:
                faults.append(f"{path}: {error}")
            except Exception as error:  # many types
                reason = "is not an image" if isinstance(error, UnidentifiedImageError) else f"is damaged: {error}"
                faults.append(f"{path} {reason}")
    if faults:
        more = f" (and {len(faults) - 1:,} more files)" if len(faults) > 1 else ""
        raise DataError(f"{faults[0]}{more}; mend or delete them, or leave them out with skip_unreadable=true")
    return TrainTest(*parts)
