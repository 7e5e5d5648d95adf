"""What the examples of a training looked like, so that what is read later can be held against it.

The **ink mass** of a picture is its mean pixel from 0 to 1. Its histogram has ten parts that are equally full in the
training data; input that drifts away (other pens, inverted pictures, another camera) fills them unequally.
"""

from typing import Any

import numpy as np

from training.data import Dataset
from training.types import Floats, Pixels

PARTS = 10
_DIGITS = 6


def mean_intensity(images: Pixels) -> Floats:
    """Measure pictures, uint8 (n, side, side): the mean pixel of each, from 0 to 1, float32 (n,)."""
    pixels = images.reshape(len(images), -1)
    mass: Floats = (pixels.sum(axis=1, dtype=np.uint32) / (255 * pixels.shape[1])).astype(np.float32)
    return mass


def ink_histogram(mass: Floats, edges: Floats) -> list[int]:
    """Count masses by part; `edges` are the inner ones, and a mass on an edge belongs to the part above it."""
    counts: list[int] = np.bincount(np.searchsorted(edges, mass, side="right"), minlength=len(edges) + 1).tolist()
    return counts


def profile(examples: Dataset) -> dict[str, Any]:
    """Describe examples as a manifest keeps it: ink mass (mean, std, edges and shares of its parts), class shares."""
    mass = mean_intensity(examples.images)
    edges = np.quantile(mass, np.arange(1, PARTS) / PARTS).round(_DIGITS).astype(np.float32)
    counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    return {
        "examples": len(examples),
        "ink": {
            "mean": round(float(mass.mean()), _DIGITS),
            "std": round(float(mass.std()), _DIGITS),
            "edges": [round(float(edge), _DIGITS) for edge in edges],
            "shares": [round(count / len(mass), _DIGITS) for count in ink_histogram(mass, edges)],
        },
        "classes": {
            name: round(count / len(examples), _DIGITS) for name, count in zip(examples.classes, counts, strict=True)
        },
    }
