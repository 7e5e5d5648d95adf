"""Conversion of stored labels to class numbers: integers, integral floats, one-hot rows or text."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.data.dataset import DIGITS
from training.errors import DataError
from training.types import Labels

_MAX_CLASSES = 100_000


def class_numbers(
    given: Mapping[str, np.ndarray], classes: Sequence[str] | None, name: str
) -> tuple[list[Labels], tuple[str, ...]]:
    """Convert the labels of all splits with the same numbering; return (class numbers per split, classes).

    `given` maps the name of a split for messages ("y_train") to its labels, shape (n,), (n, 1) or one-hot (n, k).
    Without `classes`, integers from 0 to 9 are digits, other integers are classes from the smallest (at least 0) to the
    largest, and text labels are classes in sorted order. Raises DataError with the invalid label and its position.
    """
    if classes is not None and len(set(classes)) != len(classes):
        raise DataError(f"{name}: two classes have the same name in {', '.join(classes)}")
    parts = {part: _flat(labels, f"{name}: {part}") for part, labels in given.items()}
    kinds = {labels.dtype.kind for labels in parts.values() if len(labels)}
    if kinds == {"U"}:
        return _named(parts, classes, name)
    if "U" in kinds:
        raise DataError(f"{name}: some labels are text and some are numbers; save all of them as text")
    numbers = {part: labels.astype(np.int64) for part, labels in parts.items()}
    if classes is not None:
        for part, labels in numbers.items():
            _refuse(labels, (labels < 0) | (labels >= len(classes)), f"{name}: {part}", f"0 to {len(classes) - 1}")
        return [*numbers.values()], tuple(classes)
    return _counted(numbers, name)


def _flat(labels: np.ndarray, what: str) -> np.ndarray:
    """Return labels as (n,) of int64 or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "fiub" and ((labels == 0) | (labels == 1)).all():
        if (labels.sum(axis=1) == 1).all():
            return np.asarray(labels.argmax(axis=1))
        raise DataError(f"{what} has rows that are not one-hot; save class numbers of shape (n,)")
    if labels.ndim != 1:
        raise DataError(f"{what} has the shape {labels.shape}; expected one label for each image, shape (n,)")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.rint(labels)) & (np.abs(labels) < 2**53)
        _refuse(labels, ~whole, what, "whole numbers, such as labels.astype(int)")
        return labels.astype(np.int64)
    if labels.dtype.kind == "u":
        _refuse(labels, labels > _MAX_CLASSES, what, f"0 to {_MAX_CLASSES}")
    if labels.dtype.kind not in "Uiub":
        raise DataError(f"{what} holds {labels.dtype}; save labels as whole numbers or as text: labels.astype(str)")
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def _named(
    parts: Mapping[str, np.ndarray], classes: Sequence[str] | None, name: str
) -> tuple[list[Labels], tuple[str, ...]]:
    found = sorted({str(label) for labels in parts.values() for label in np.unique(labels)})
    if classes is None:
        classes = DIGITS if set(found) <= set(DIGITS) else tuple(found)
    order = np.argsort(np.array(classes))
    ordered = np.array(classes)[order]
    numbers = []
    for part, labels in parts.items():
        _refuse(labels, ~np.isin(labels, ordered), f"{name}: {part}", f"one of {', '.join(classes[:50])}")
        numbers.append(order[np.searchsorted(ordered, labels)].astype(np.int64) if len(labels) else labels.astype(int))
    return numbers, tuple(classes)


def _counted(parts: Mapping[str, Labels], name: str) -> tuple[list[Labels], tuple[str, ...]]:
    """Name the classes by their integers."""
    for part, labels in parts.items():
        _refuse(labels, labels < 0, f"{name}: {part}", "0 or more: subtract the least, labels - labels.min()")
    found = np.unique(np.concatenate([*parts.values(), np.zeros(0, np.int64)]))
    if not len(found) or found[-1] < len(DIGITS):
        return [*parts.values()], DIGITS
    low, high = int(found[0]), int(found[-1])
    if 2 * len(found) < high - low + 1:  # an outlier rather than a class
        end = int(np.diff(found).argmax()) + 1
        stray = min(found[:end], found[end:], key=len)
        for part, labels in parts.items():
            wanted = f"no gap such as from {found[end - 1]} to {found[end]}; renumber them, or name them in `classes`"
            _refuse(labels, np.isin(labels, stray), f"{name}: {part}", wanted)
    return [labels - low for labels in parts.values()], tuple(str(number) for number in range(low, high + 1))


def _refuse(labels: np.ndarray, wrong: np.ndarray, what: str, expected: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        more = int(np.count_nonzero(wrong)) - 1
        others = f" (and {more:,} more like it)" if more else ""
        raise DataError(f"{what}[{row}] is {labels[row]!s}{others}; expected {expected}")
