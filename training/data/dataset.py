"""Data sets: glyphs in MNIST's form and their labels."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.deprecation import renamed
from training.errors import DataError
from training.inputs.array_likes import as_array, class_numbers
from training.types import Labels, Pixels
from training.vision.input_spec import IMAGE_SIZE

DIGITS = tuple("0123456789")

Progress = Callable[[str, int, int], None]
"""Called during a download with (file name, bytes so far, total bytes or 0 if unknown)."""


@renamed(take="select", only="filter_classes", joined="concat")
@dataclass(frozen=True)
class Dataset:
    """Images (n, 28, 28), uint8, and their class numbers (n,). Raises DataError if they are inconsistent."""

    name: str
    images: Pixels
    labels: Labels
    classes: tuple[str, ...] = DIGITS
    """The name of each class number."""
    skipped: tuple[str, ...] = ()
    """Files that could not be read and were left out, relative to the folder."""

    def __post_init__(self) -> None:
        """Check shapes and labels. Lists become arrays, a column of labels (n, 1) becomes (n,)."""
        object.__setattr__(self, "images", as_array("images", self.images))
        labels = class_numbers(self.labels, 2)
        if len(labels) and labels.dtype.kind not in "iu":
            raise DataError(f"{self.name}: labels must be whole numbers, not {labels.dtype}")
        object.__setattr__(self, "labels", labels)
        if self.images.dtype != np.uint8 or self.images.ndim != 3 or self.images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
            found = f"{self.images.dtype} {self.images.shape}"
            raise DataError(f"{self.name}: expected images of uint8 (n, {IMAGE_SIZE}, {IMAGE_SIZE}), got {found}")
        if self.labels.shape != (len(self.images),):
            raise DataError(f"{self.name}: {len(self.images)} images but labels of shape {self.labels.shape}")
        wrong = (self.labels < 0) | (self.labels >= len(self.classes))
        if wrong.any():
            row, most = int(wrong.argmax()), len(self.classes) - 1
            raise DataError(f"{self.name}: labels must be 0 to {most}, found {int(self.labels[row])} at position {row}")
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"{self.name}: two classes have the same name in {', '.join(self.classes)}")

    @classmethod
    def of_labels(cls, name: str, labels: Labels, classes: tuple[str, ...]) -> "Dataset":
        """Return a data set of blank images that take no memory, for checks that need labels only."""
        blank = np.broadcast_to(np.zeros((), np.uint8), (len(labels), IMAGE_SIZE, IMAGE_SIZE))
        return cls(name, blank, labels, classes)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    def select(self, rows: Labels) -> "Dataset":
        """Return the examples of these rows, in this order."""
        return replace(self, images=self._images(rows), labels=self.labels[rows])

    def filter_classes(self, classes: Sequence[int]) -> "Dataset":
        """Return the examples of these classes, renumbered in the order given."""
        if not classes or not all(0 <= label < len(self.classes) for label in classes):
            raise DataError(f"{self.name} has the classes 0 to {len(self.classes) - 1}, not all of {list(classes)}")
        number = np.full(len(self.classes), -1)
        number[list(classes)] = np.arange(len(classes))
        rows = np.flatnonzero(number[self.labels] >= 0)
        names = tuple(self.classes[label] for label in classes)
        return Dataset(self.name, self._images(rows), number[self.labels[rows]], names, self.skipped)

    def _images(self, rows: Labels) -> Pixels:
        if len(self) and not self.images.strides[0]:  # the blank images of `of_labels` still take no memory
            return np.broadcast_to(self.images[0, 0, 0], (len(self.labels[rows]), IMAGE_SIZE, IMAGE_SIZE))
        return self.images[rows]

    def concat(self, other: "Dataset") -> "Dataset":
        """Append another data set with the same classes."""
        if other.classes != self.classes:
            raise DataError(f"{self.name} and {other.name} have different classes")
        images, labels = np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels])
        return replace(self, images=images, labels=labels)

    def fingerprint(self) -> str:
        """Return 16 hex digits of the SHA-256 of images and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8")).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TrainTest:
    """Training examples, and test examples if the data set has its own."""

    train: Dataset
    test: Dataset | None = None
