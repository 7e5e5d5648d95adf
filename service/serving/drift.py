"""Data drift: how far recent images differ from the training examples of a version.

The measure is the population stability index (PSI) of recent images against the `baseline` in the manifest:
Σ (actual − expected) · ln(actual / expected) over the shares of all bins. It is 0 for equal distributions; by
convention 0.1 is a small shift, and values above 0.25 need investigation.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from training.evaluation.data_profile import ink_histogram
from training.types import Floats

HALF_WINDOW = 5_000
"""Images after which a window drops its older half: it covers the last 5,000 to 10,000 images."""
MIN_IMAGES = 100
"""Minimum number of images for an index; with fewer it would be noise."""

_MIN_SHARE = 1e-4
_PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Baseline:
    """Statistics of the training examples of a version."""

    ink_mean: float
    ink_edges: tuple[float, ...]
    ink_shares: tuple[float, ...]
    classes: Mapping[str, float]

    @classmethod
    def parse(cls, details: Any) -> "Baseline | None":
        """Parse a manifest's `baseline`; None if it is missing or invalid, as in versions of older releases."""
        try:
            ink, classes = details["ink"], details["classes"]
            baseline = cls(
                float(ink["mean"]),
                tuple(float(edge) for edge in ink["edges"]),
                tuple(float(share) for share in ink["shares"]),
                {str(name): float(share) for name, share in classes.items()},
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            return None
        ordered = all(low <= high for low, high in zip(baseline.ink_edges, baseline.ink_edges[1:], strict=False))
        fits = len(baseline.ink_shares) == len(baseline.ink_edges) + 1
        return baseline if ordered and fits and baseline.classes else None


def population_stability_index(counts: Sequence[float], shares: Sequence[float]) -> float:
    """Return the population stability index of counts against expected shares."""
    total = sum(counts) + _PSEUDO_COUNT * len(counts)
    index = 0.0
    for count, share in zip(counts, shares, strict=True):
        actual, expected = (count + _PSEUDO_COUNT) / total, max(share, _MIN_SHARE)
        index += (actual - expected) * math.log(actual / expected)
    return index


@dataclass
class WindowStats:
    """Sums over images: their brightness and their predicted labels."""

    images: int = 0
    ink_sum: float = 0.0
    """Sum of the images' mean brightness."""
    ink_bins: list[int] = field(default_factory=list)
    """Number of images in each bin of the baseline's mean brightness."""
    labels: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "WindowStats") -> "WindowStats":
        """Return the sum of both."""
        bins = [sum(counts) for counts in zip_longest(self.ink_bins, other.ink_bins, fillvalue=0)]
        return WindowStats(self.images + other.images, self.ink_sum + other.ink_sum, bins, self.labels + other.labels)


class Window:
    """Statistics of the last images that a version predicted."""

    def __init__(self, model: str, version: int, baseline: Baseline | None) -> None:
        """Start empty."""
        self._model, self._version, self._baseline = model, version, baseline
        self._edges = np.array(baseline.ink_edges if baseline else (), np.float32)
        self._older, self._newer = WindowStats(), WindowStats()

    def add(self, ink: Floats, labels: Sequence[str]) -> None:
        """Add images by their mean brightness and predicted labels."""
        bins = ink_histogram(ink, self._edges)
        self._newer = self._newer.merge(WindowStats(len(ink), float(ink.sum()), bins, Counter(labels)))
        if self._newer.images >= HALF_WINDOW:
            self._older, self._newer = self._newer, WindowStats()

    def stats(self) -> WindowStats:
        """Return the statistics of the whole window."""
        return self._older.merge(self._newer)

    def to_json(self) -> dict[str, Any]:
        """Return the statistics and the baseline as JSON data."""
        baseline = asdict(self._baseline) if self._baseline else None
        seen = vars(self.stats())  # not `asdict`, which would count the items of the Counter
        return {"model": self._model, "version": self._version, "seen": seen, "baseline": baseline}


def merge_windows(windows: Iterable[dict[str, Any]]) -> dict[tuple[str, int], tuple[WindowStats, Baseline | None]]:
    """Sum windows in JSON form by model and version."""
    sums: dict[tuple[str, int], tuple[WindowStats, Baseline | None]] = {}
    for window in windows:
        key = (window["model"], window["version"])
        seen = WindowStats(**window["seen"] | {"labels": Counter(window["seen"]["labels"])})
        before, baseline = sums.get(
            key, (WindowStats(), Baseline(**window["baseline"]) if window["baseline"] else None)
        )
        sums[key] = (before.merge(seen), baseline)
    return sums


def drift_psi(seen: WindowStats, baseline: Baseline) -> dict[str, float]:
    """Return the PSI of the mean brightness and of the predicted classes; empty below MIN_IMAGES."""
    if seen.images < MIN_IMAGES:
        return {}
    names = list(baseline.classes)
    return {
        "ink": population_stability_index(seen.ink_bins, baseline.ink_shares),
        "classes": population_stability_index(
            [seen.labels[name] for name in names], [baseline.classes[name] for name in names]
        ),
    }
