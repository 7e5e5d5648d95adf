"""Class labels of any type, and the class numbers that a network learns instead of them.

A network's `classes_` holds the label of each class number. At first these are the numbers 0 … k−1 themselves; a
training on other labels sets them, and a later training or evaluation looks its labels up in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import ConfigError, DataError
from training.inputs.array_likes import as_array, class_numbers
from training.limits import shown
from training.types import Labels, Targets

if TYPE_CHECKING:
    from training.nn.mlp import MLP

_TEXT = "U"
_MAX_SHOWN = 10


def encode(classes: np.ndarray, given: Any, outputs: int, *, are_classes: bool = True) -> Targets:
    """Turn labels into class numbers, positions in `classes`; numbers that are no labels stay as they are.

    `outputs` is the number of the network's outputs, and `are_classes` whether whole numbers of shape (n,) are labels.
    Raises DataError for labels that are not in `classes`.
    """
    y = _as_labels(given, outputs)
    if y.dtype.kind not in _TEXT and (not are_classes or not _are_whole(y) or _are_numbers(classes)):
        return y
    return _look_up(classes, y)


def learn_classes(network: MLP, given: Any, *, are_classes: bool = True) -> np.ndarray:
    """Return the `classes_` that a network has once it is trained on these labels.

    Class numbers 0 … k−1, and labels that the network knows, leave them as they are. Any other labels must be as many
    different ones as there are classes; text that is not raises DataError.
    """
    y, classes = _as_labels(given, network.config.layers[-1]), network.classes_
    is_text = y.dtype.kind in _TEXT
    if not y.size or not _are_numbers(classes) or not (is_text or (are_classes and _are_whole(y))):
        return classes
    if not is_text and y.min() >= 0 and y.max() < len(classes):
        return classes
    found = np.unique(y)
    if len(found) == len(classes):
        return found
    if not is_text:
        return classes  # the check of class numbers refuses them and names their range
    cure = f"set the last of layers to {len(found)}" if len(found) > 1 else "at least two are needed"
    raise DataError(
        f"y has {len(found)} different labels ({listed(found)}), but the network has {len(classes)} classes; {cure}"
    )


def check_range(labels: Labels, classes: int) -> None:
    """Raise DataError for class numbers that are not among 0 … classes−1."""
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0 or high >= classes:
        cure = "renumber them from 0" if low < 0 else f"set the last of layers to {high + 1}, or renumber them from 0"
        raise DataError(f"labels go from {low} to {high}, but the network knows the classes 0 to {classes - 1}; {cure}")


def check_same_labels(network: MLP, names: Sequence[str]) -> None:
    """Let a network that was trained on labels go on with the class numbers of a data set whose classes they are.

    Raises ConfigError where the labels are not the names of the data set's classes, in this order.
    """
    if are_default(network):
        return
    if [str(label) for label in network.classes_] != list(names):
        raise ConfigError(
            f"the network knows the classes {listed(network.classes_)}, but the data has {listed(np.array(names))}",
            field="start_from",
        )
    network.classes_ = np.arange(len(network.classes_))


def restored_classes(stored: Any, network: MLP) -> np.ndarray:
    """Return the labels of a weights file as `classes_`. Raises DataError for what cannot be labels."""
    expected = len(network.classes_)
    kinds = {type(label) for label in stored} if isinstance(stored, list) else set()
    classes = np.array(stored) if kinds in ({int}, {str}) else np.zeros(0)
    if classes.dtype.kind not in "iuU" or not len(set(stored)) == len(classes) == expected:
        raise DataError(f"classes must be {expected} different labels, not {shown(stored)}")
    return classes


def listed(labels: np.ndarray) -> str:
    """List labels for a message, the first ten of many."""
    more = f", … ({len(labels)} in all)" if len(labels) > _MAX_SHOWN else ""
    return ", ".join(str(label) for label in labels[:_MAX_SHOWN]) + more


def _look_up(classes: np.ndarray, y: np.ndarray) -> Labels:
    if (y.dtype.kind in _TEXT) != (classes.dtype.kind in _TEXT):
        raise DataError(f"y holds {y.dtype}, but the network was trained on the labels {listed(classes)}")
    order = np.argsort(classes)
    positions = np.searchsorted(classes[order], y).clip(max=len(classes) - 1)
    numbers: Labels = order[positions]
    unknown = classes[numbers] != y
    if unknown.any():
        raise DataError(
            f"y has the label {shown(y[unknown][0].item())}, but the network knows the classes {listed(classes)}"
        )
    return numbers


def _are_whole(y: np.ndarray) -> bool:
    return y.ndim == 1 and y.dtype.kind in "iub"


def are_default(network: MLP) -> bool:
    """Whether the network's labels are its class numbers."""
    return _are_numbers(network.classes_)


def _are_numbers(classes: np.ndarray) -> bool:
    """Whether the labels are the class numbers 0 … k−1 themselves."""
    return classes.dtype.kind in "iu" and bool((classes == np.arange(len(classes))).all())


def _as_labels(given: Any, outputs: int) -> np.ndarray:
    """Return targets as an array: labels (n,), also from a column (n, 1), or numbers. Raises DataError."""
    try:
        y = np.asarray(given)
    except ValueError:  # rows of different lengths
        y = as_array("y", given)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind in "OT":
        y = _plain(y)
    if y.dtype.kind not in _TEXT:
        return class_numbers(y, outputs)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"y is text of shape {y.shape}; expected one label for each row of x, shape (n,)")
    return y


def _plain(y: np.ndarray) -> np.ndarray:
    """Turn an array of Python objects, as pandas gives for text, into one of text or of whole numbers."""
    values = y.ravel().tolist()
    kinds = {"bool" if isinstance(v, bool) else "int" if isinstance(v, int) else type(v).__name__ for v in values}
    if kinds <= {"str"} or kinds <= {"int"} or kinds <= {"bool"}:
        return np.array(values).reshape(y.shape)
    raise DataError(
        f"y holds {', '.join(sorted(kinds))}; labels must be all text or all whole numbers, without missing values"
    )
