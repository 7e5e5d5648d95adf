"""Profile of the training data, the reference for drift detection.

It contains a histogram of the mean intensity of the images, from 0 to 1, with ten bins that are equally full for the
training data. Inputs that drift (other pens, inverted images, another camera) fill them unequally.
"""

from typing import Any

import numpy as np

from training.data import Dataset
from training.types import Floats, Pixels

N_BINS = 10
_DIGITS = 6


def mean_intensity(images: Pixels) -> Floats:
    """Return the mean pixel of images, uint8 (n, side, side), from 0 to 1: float32 (n,)."""
    pixels = images.reshape(len(images), -1)
    intensity: Floats = (pixels.sum(axis=1, dtype=np.uint32) / (255 * pixels.shape[1])).astype(np.float32)
    return intensity


def ink_histogram(intensity: Floats, edges: Floats) -> list[int]:
    """Return the histogram for inner bin edges; a value on an edge belongs to the bin above."""
    counts: list[int] = np.bincount(np.searchsorted(edges, intensity, side="right"), minlength=len(edges) + 1).tolist()
    return counts


def profile(examples: Dataset) -> dict[str, Any]:
    """Return the profile as stored in manifests: statistics and histogram of intensity, frequencies of classes."""
    intensity = mean_intensity(examples.images)
    edges = np.quantile(intensity, np.arange(1, N_BINS) / N_BINS).round(_DIGITS).astype(np.float32)
    counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    return {
        "examples": len(examples),
        "ink": {
            "mean": round(float(intensity.mean()), _DIGITS),
            "std": round(float(intensity.std()), _DIGITS),
            "edges": [round(float(edge), _DIGITS) for edge in edges],
            "shares": [round(count / len(intensity), _DIGITS) for count in ink_histogram(intensity, edges)],
        },
        "classes": {
            name: round(count / len(examples), _DIGITS) for name, count in zip(examples.classes, counts, strict=True)
        },
    }
