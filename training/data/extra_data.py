"""Extra data: a second, small data set for training, such as corrections by users.

A few dozen examples would have no effect next to tens of thousands. So they are oversampled until they make up a given
fraction of an epoch, at most MAX_REPEATS times each. Repetitions are randomly deformed, which reduces overfitting.

A part is held out for evaluation. It is selected by a hash of the image, so an example that was held out once stays so
in later trainings, as long as its class has enough examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.augment.geometry import Augment
from training.augment.random_deform import make_augment
from training.data.dataset import Dataset, TrainTest
from training.errors import DataError
from training.vision.input_spec import IMAGE_SIZE, InputSpec

MAX_REPEATS = 100
HELD_OUT_SHARE = 0.2
_ENOUGH = 5
"""Examples that a class needs before any is held out."""


@dataclass(frozen=True)
class ExtraData:
    """Extra data, split into training and held-out examples."""

    name: str
    fingerprint: str
    """Fingerprint of all examples."""
    train: Dataset
    """Training examples, before oversampling."""
    held_out: Dataset | None
    """Examples for evaluation; None if there are too few."""


def split_extra(source: TrainTest, classes: Sequence[str], *, ignore_unknown_classes: bool = False) -> ExtraData:
    """Split extra data, renumbering its classes as in `classes`; its own test examples, if any, are held out.

    Raises DataError for other classes, unless they are to be ignored.
    """
    given = source.train
    train = _renumbered(given, classes, ignore_unknown_classes=ignore_unknown_classes)
    if source.test:
        return ExtraData(
            given.name,
            given.fingerprint(),
            train,
            _renumbered(source.test, classes, ignore_unknown_classes=ignore_unknown_classes),
        )
    held = _held_out_rows(train)
    return ExtraData(given.name, given.fingerprint(), train.select(~held), train.select(held) if held.any() else None)


def oversample(extra: Dataset, main_size: int, fraction: float, seed: int, *, deform: bool) -> Dataset:
    """Repeat examples until they make up `fraction` of all together with `main_size` others.

    Each is used at least once and at most MAX_REPEATS times. With `deform`, all repetitions are randomly deformed.
    """
    if not len(extra):
        return extra
    times = min(max(round(fraction / (1 - fraction) * main_size / len(extra)), 1), MAX_REPEATS)
    augment = make_augment("deform", {}) if deform else None
    rng = np.random.default_rng(seed)
    again = [_deformed(extra, augment, rng) if augment else extra.images for _ in range(times - 1)]
    return Dataset(extra.name, np.concatenate([extra.images, *again]), np.tile(extra.labels, times), extra.classes)


def _deformed(extra: Dataset, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    rows = augment(InputSpec().to_features(extra.images), rng)
    return np.rint(np.clip(rows, 0, 1) * 255).astype(np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)


def _renumbered(given: Dataset, classes: Sequence[str], *, ignore_unknown_classes: bool) -> Dataset:
    present = {given.classes[label] for label in np.unique(given.labels)}
    unknown = sorted(present - set(classes))
    if unknown and not ignore_unknown_classes:
        raise DataError(f"{given.name} has examples of {', '.join(unknown)}; expected only {', '.join(classes)}")
    number = np.array([classes.index(name) if name in classes else -1 for name in given.classes], np.int64)
    labels = number[given.labels]
    return Dataset(given.name, given.images[labels >= 0], labels[labels >= 0], tuple(classes))


def _held_out_rows(examples: Dataset) -> np.ndarray:
    """Select rows by a hash of the image; small classes keep all examples, and each class keeps at least one.

    If that selects none of _ENOUGH examples or more, the one with the smallest hash is selected among the classes with
    several examples.
    """
    hashes = [int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8]) for image in examples.images]
    uniform = np.array(hashes, np.uint64) / 2.0**64
    held = np.zeros(len(examples), bool)
    for label in range(len(examples.classes)):
        rows = np.flatnonzero(examples.labels == label)
        if len(rows) >= _ENOUGH:
            held[rows] = uniform[rows] < HELD_OUT_SHARE
            held[rows[uniform[rows].argmax()]] = False
    counts = np.bincount(examples.labels, minlength=len(examples.classes))
    shared = np.flatnonzero(counts[examples.labels] > 1)
    if not held.any() and len(examples) >= _ENOUGH and len(shared):
        held[shared[uniform[shared].argmin()]] = True
    return held
