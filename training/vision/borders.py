"""Pixels along the border of an image, and the extent of what is inside."""

from typing import Any

import numpy as np


def border(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the pixels of the first and last row and column, corners twice."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def extent(mask: np.ndarray[Any, Any]) -> slice:
    """Return the slice from the first to the last True of a mask (n,)."""
    return slice(int(mask.argmax()), len(mask) - int(mask[::-1].argmax()))


def crop(image: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Crop to the bounding box of a mask."""
    return np.asarray(image[extent(np.any(mask, axis=1)), extent(np.any(mask, axis=0))])
