"""Conversion of image arrays of other tools to uint8 (n, 28, 28)."""

import numpy as np

from training.errors import DataError
from training.types import Pixels
from training.vision.input_spec import IMAGE_SIZE

_ROWS = 4096
"""Images converted at a time, to limit memory."""


def as_pixels(given: np.ndarray, what: str) -> Pixels:
    """Convert images of shape (n, 28, 28), (n, 28, 28, 1), (n, 1, 28, 28) or (n, 784) to uint8 (n, 28, 28).

    Numbers from 0 to 255 are gray values; where none is above 1, 1 is full ink. Raises DataError that names `what`
    and says how to convert anything else.
    """
    images = _shaped(given, what)
    if images.dtype == np.uint8 and (not len(images) or int(images.max()) > 1):
        return images
    if images.dtype.kind not in "fiub":
        raise DataError(f"{what} holds {images.dtype}; expected gray values from 0 to 255, or from 0 to 1")
    bounds = [(float(rows.min()), float(rows.max())) for rows in _pieces(images)]
    low, high = (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        bad = next(row for row, image in enumerate(images) if not np.isfinite(image).all())
        raise DataError(f"{what}[{bad}] has numbers that are not finite (NaN or infinity)")
    if low < 0 or high > 255:
        raise DataError(
            f"{what} goes from {low:g} to {high:g}; expected 0 to 255, or 0 to 1: "
            f"scale it, ({what.rpartition(' ')[2]} - {low:g}) / {high - low:g}"
        )
    scale = 255 if high <= 1 else 1
    converted = np.empty(images.shape, np.uint8)
    for start, rows in zip(range(0, len(images), _ROWS), _pieces(images), strict=True):
        converted[start : start + _ROWS] = np.rint(rows.astype(np.float64) * scale)
    return converted


def check_shape(shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
    """Raise DataError unless arrays of this shape are images of 28×28."""
    square = (IMAGE_SIZE, IMAGE_SIZE)
    fits = shape[1:] in (square, (*square, 1), (1, *square), (IMAGE_SIZE * IMAGE_SIZE,))
    if not fits or not shape:
        raise DataError(
            f"{what}: expected images of shape (n, 28, 28), (n, 28, 28, 1) or (n, 784), got {dtype} {shape}; "
            "save images of other sizes as a folder of image files for each class"
        )


def _shaped(given: np.ndarray, what: str) -> np.ndarray:
    check_shape(given.shape, given.dtype, what)
    return given.reshape(len(given), IMAGE_SIZE, IMAGE_SIZE)


def _pieces(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + _ROWS] for start in range(0, len(images), _ROWS)]
