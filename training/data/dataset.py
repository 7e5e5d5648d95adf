"""A data set: pictures in MNIST's form, and what is on them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.deprecation import renamed
from training.errors import DataError
from training.inputs import as_array, class_numbers
from training.types import Labels, Pixels
from training.vision.input_spec import IMAGE_SIZE

DIGITS = tuple("0123456789")

Progress = Callable[[str, int, int], None]
"""Called while a file is fetched with (file name, bytes so far, bytes in all or 0 where unknown)."""


@renamed(take="select", only="filter_classes", joined="concat")
@dataclass(frozen=True)
class Dataset:
    """Pictures (n, 28, 28) with their class numbers (n,). Raises DataError when the two do not fit."""

    name: str
    images: Pixels
    labels: Labels
    classes: tuple[str, ...] = DIGITS
    """What each class number stands for."""
    skipped: tuple[str, ...] = ()
    """The files that were left out because they could not be read, relative to the source's folder."""

    def __post_init__(self) -> None:
        """Check shapes and labels; lists become arrays, a column of labels (n, 1) becomes (n,)."""
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
        """Make a set of blank pictures that take no memory, to find out what its labels alone decide."""
        blank = np.broadcast_to(np.zeros((), np.uint8), (len(labels), IMAGE_SIZE, IMAGE_SIZE))
        return cls(name, blank, labels, classes)

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.labels)

    def select(self, rows: Labels) -> "Dataset":
        """Keep only these rows, in this order."""
        return replace(self, images=self._pictures(rows), labels=self.labels[rows])

    def filter_classes(self, classes: Sequence[int]) -> "Dataset":
        """Keep only the examples of these classes, numbered anew in the order given."""
        if not classes or not all(0 <= label < len(self.classes) for label in classes):
            raise DataError(f"{self.name} has the classes 0 to {len(self.classes) - 1}, not all of {list(classes)}")
        number = np.full(len(self.classes), -1)
        number[list(classes)] = np.arange(len(classes))
        rows = np.flatnonzero(number[self.labels] >= 0)
        names = tuple(self.classes[label] for label in classes)
        return Dataset(self.name, self._pictures(rows), number[self.labels[rows]], names, self.skipped)

    def _pictures(self, rows: Labels) -> Pixels:
        if len(self) and not self.images.strides[0]:  # blank ones, of `of_labels`, go on taking no memory
            return np.broadcast_to(self.images[0, 0, 0], (len(self.labels[rows]), IMAGE_SIZE, IMAGE_SIZE))
        return self.images[rows]

    def concat(self, other: "Dataset") -> "Dataset":
        """Put another set of the same classes behind this one."""
        if other.classes != self.classes:
            raise DataError(f"{self.name} and {other.name} have different classes")
        images, labels = np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels])
        return replace(self, images=images, labels=labels)

    def fingerprint(self) -> str:
        """Name the content: 16 hex digits of SHA-256 over pictures and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8")).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TrainTest:
    """What a source gives: examples to learn from, and, where it has its own, examples to test on."""

    train: Dataset
    test: Dataset | None = None
