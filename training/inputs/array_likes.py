"""Checks of array-likes (arrays, lists, data frames) before a network computes with them."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import DataError
from training.types import Floats
from training.vision.input_spec import IMAGE_SIZE

if TYPE_CHECKING:
    from training.nn.config import MLPConfig

_DIVIDE = "divide pixels by 255, or turn uint8 images into rows with network.config.input.to_features(images)"


def as_array(name: str, given: Any) -> np.ndarray:
    """Make an array of numbers of a list, a data frame or an array. Raises DataError."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(value, Real) for value in array.flat):
        array = array.astype(np.float64)  # such as a data frame with columns of bool and of float
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must be numbers, not {array.dtype}; turn text and missing values into numbers first")
    return array


def rows(config: MLPConfig, dtype: np.dtype[Any], given: Any) -> Floats:
    """Check inputs for a network and return them in its dtype, shape (n, features).

    Raises DataError for other shapes, numbers that are not finite, and pixels 0 … 255 where it takes others.
    """
    features = config.layers[0]
    x = as_array("x", given)
    if x.ndim != 2 or x.shape[1] != features:
        raise DataError(
            f"this network takes rows of {features} numbers, x of shape (n, {features}), got shape {x.shape}"
            + _cure_of_shape(x.shape, features)
        )
    if x.dtype == np.uint8:
        raise DataError(f"x is uint8, as raw pixels 0 … 255 are; {_DIVIDE}")
    with np.errstate(over="ignore"):  # the check below finds what is too large for float32
        x = x.astype(dtype, copy=False)
    for start in range(0, len(x), _BLOCK):  # blocks, so that the check of a large array needs no second one
        _check(config, x[start : start + _BLOCK])
    return x


_BLOCK = 4096


def _cure_of_shape(shape: tuple[int, ...], features: int) -> str:
    if shape == (features,):
        return "; give a single row as x[np.newaxis]"
    if len(shape) == 3 and shape[1:] == (IMAGE_SIZE, IMAGE_SIZE):
        return "; flatten images first: network.config.input.to_features(images) for uint8, else x.reshape(len(x), -1)"
    if len(shape) > 2:
        return "; flatten images first: x.reshape(len(x), -1)"
    if len(shape) == 2:
        return f"; set the first of layers to {shape[1]}"
    return ""


def _check(config: MLPConfig, x: Floats) -> None:
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        raise DataError("x has numbers that are not finite (NaN or infinity)")
    form = config.input
    sees_pictures = config.layers[0] == form.grid_size**2
    # Whole numbers far above what the form makes of ink: standardised features have fractions.
    if sees_pictures and low >= 0 and 2 * max(form.low, form.high, 1) < high <= 255 and not np.any(x % 1):
        raise DataError(
            f"x has whole numbers up to {high:g}, as raw pixels 0 … 255 are, but this network takes "
            f"{form.low:g} to {form.high:g}; {_DIVIDE}"
        )


def class_numbers(given: Any, classes: int) -> np.ndarray:
    """Return labels as an array; a column (n, 1) of class numbers becomes (n,).

    Raises DataError for what are no numbers, and for class numbers that are given as floats.
    """
    y = as_array("y", given)
    if y.ndim == 2 and y.shape[1] == 1 and classes > 1 and y.dtype.kind in "iub":
        return y[:, 0]
    if y.ndim == 1 and y.dtype.kind == "f" and classes > 1:
        raise DataError(f"y is {y.dtype} of shape {y.shape}; class numbers must be integers: use y.astype(int)")
    return y
