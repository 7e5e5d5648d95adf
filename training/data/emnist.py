"""EMNIST's IDX files (Cohen et al. 2017): `emnist-letters-train-images-idx3-ubyte` and so on, plain or `.gz`.

Images are stored column by column, and letters are numbered from 1.
"""

from pathlib import Path
from string import ascii_lowercase, ascii_uppercase

import numpy as np

from training.data import idx
from training.data.dataset import DIGITS, Dataset, TrainTest
from training.errors import DataError

_MERGED = (*DIGITS, *ascii_uppercase, *"abdefghnqrt")  # letters that look like their capitals are merged with them
CLASSES: dict[str, tuple[str, ...]] = {
    "balanced": _MERGED,
    "bymerge": _MERGED,
    "byclass": (*DIGITS, *ascii_uppercase, *ascii_lowercase),
    "digits": DIGITS,
    "mnist": DIGITS,
    "letters": tuple(ascii_uppercase),
}
_PARTS = ("train", "test")


def has_files(folder: Path) -> bool:
    """Return whether a folder has EMNIST files."""
    return bool(_splits(folder))


def read_folder(folder: Path, *, labels_only: bool = False) -> TrainTest:
    """Read the four files of an EMNIST set; with `labels_only`, images are blank.

    Raises DataError that names the file, or the sets if there are several.
    """
    splits = _splits(folder)
    if len(splits) > 1:
        raise DataError(f"{folder} has the EMNIST sets {', '.join(splits)}; keep the files of one of them there")
    classes = CLASSES[splits[0]]
    parts = []
    for part in _PARTS:
        labels = idx.read_idx(_file(folder, splits[0], part, "labels", "idx1"), dimensions=1).astype(np.int64)
        labels -= 1 if splits[0] == "letters" else 0
        images = _file(folder, splits[0], part, "images", "idx3")
        if labels_only:
            parts.append(Dataset.of_labels(folder.name, labels, classes))
        else:
            pictures = idx.read_idx(images, dimensions=3).transpose(0, 2, 1)
            parts.append(Dataset(folder.name, np.ascontiguousarray(pictures), labels, classes))
    return TrainTest(*parts)


def _splits(folder: Path) -> list[str]:
    return [split for split in CLASSES if any(folder.glob(f"emnist-{split}-*-idx?-ubyte*"))]


def _file(folder: Path, split: str, part: str, what: str, form: str) -> Path:
    name = f"emnist-{split}-{part}-{what}-{form}-ubyte"
    found = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if not found:
        raise DataError(f"{folder} has no {name} (nor {name}.gz)")
    return found
