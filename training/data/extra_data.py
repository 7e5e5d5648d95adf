"""Extra examples: a second, small source beside the first, such as the corrections that users have sent.

A few dozen among tens of thousands would not be heard. So each is shown several times in an epoch, until together they
make up a given share of it; not more often than MAX_REPEATS times, so that a single one does not drown the rest. The
first time an example is shown as it is, the other times deformed a little, each its own way: repeated as it is, it
would be learned by heart, and its like still be misread.

A part is held out, to see whether what is alike is read right too. Which examples these are is decided by a hash of
the picture: as long as its class has enough examples, what is held out once is held out in every training to come.
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
"""Examples that a class must have before any is held out."""


@dataclass(frozen=True)
class ExtraData:
    """An extra source, divided."""

    name: str
    fingerprint: str
    """Of all its examples."""
    learned: Dataset
    """What is learned from, each example once."""
    held_out: Dataset | None
    """What it is judged on; None where there are too few."""


def split_extra(source: TrainTest, classes: Sequence[str], *, ignore_unknown_classes: bool = False) -> ExtraData:
    """Divide an extra source, its classes numbered as `classes` are; its own test examples, if any, are held out.

    Raises DataError for a class that is not among them, unless those are to be dropped.
    """
    given = source.train
    learned = _renumbered(given, classes, ignore_unknown_classes=ignore_unknown_classes)
    if source.test:
        return ExtraData(
            given.name,
            given.fingerprint(),
            learned,
            _renumbered(source.test, classes, ignore_unknown_classes=ignore_unknown_classes),
        )
    held = _held_out_rows(learned)
    return ExtraData(
        given.name, given.fingerprint(), learned.select(~held), learned.select(held) if held.any() else None
    )


def oversample(extra: Dataset, among: int, share: float, seed: int, *, deform: bool) -> Dataset:
    """Repeat examples until they are `share` of all when shown `among` others; at least once, at most MAX_REPEATS.

    With `deform`, every time but the first they are deformed, by draws from `seed`.
    """
    if not len(extra):
        return extra
    times = min(max(round(share / (1 - share) * among / len(extra)), 1), MAX_REPEATS)
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
    """Choose rows by a hash of each picture; a class with few examples keeps all, and each keeps at least one.

    Where that holds none out of _ENOUGH examples or more, one is, of a class that has others: the one of the least
    hash, so that no later job learns from it unless a new example takes its part.
    """
    hashes = [int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8]) for image in examples.images]
    places = np.array(hashes, np.uint64) / 2.0**64
    held = np.zeros(len(examples), bool)
    for label in range(len(examples.classes)):
        rows = np.flatnonzero(examples.labels == label)
        if len(rows) >= _ENOUGH:
            held[rows] = places[rows] < HELD_OUT_SHARE
            held[rows[places[rows].argmax()]] = False
    counts = np.bincount(examples.labels, minlength=len(examples.classes))
    shared = np.flatnonzero(counts[examples.labels] > 1)
    if not held.any() and len(examples) >= _ENOUGH and len(shared):
        held[shared[places[shared].argmin()]] = True
    return held
