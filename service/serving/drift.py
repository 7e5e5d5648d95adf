"""Whether what is read still looks like what the version was trained on.

The measure is the population stability index of the pictures read last against the training examples, which the
manifest describes as its `baseline`: Σ (share now − share then) · ln(share now / share then). It is 0 for equal
distributions; by custom 0.1 is a small shift, and above 0.25 it is time to look.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from training.arrays import Floats
from training.baseline import ink_histogram

HALF_WINDOW = 5_000
"""Images after which a window forgets the older half of what it knows: it tells of the last 5,000 to 10,000."""
MIN_IMAGES = 100
"""Images below which there is no index: of so few it would be noise."""

_LEAST_SHARE = 1e-4
_PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Baseline:
    """What the training examples of a version looked like."""

    ink_mean: float
    ink_edges: tuple[float, ...]
    ink_shares: tuple[float, ...]
    classes: Mapping[str, float]

    @classmethod
    def read(cls, details: Any) -> "Baseline | None":
        """Read a manifest's `baseline`; None when there is none that can be read, as with versions of earlier days."""
        try:
            ink, classes = details["ink"], details["classes"]
            found = cls(
                float(ink["mean"]),
                tuple(float(edge) for edge in ink["edges"]),
                tuple(float(share) for share in ink["shares"]),
                {str(name): float(share) for name, share in classes.items()},
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            return None
        ordered = all(low <= high for low, high in zip(found.ink_edges, found.ink_edges[1:], strict=False))
        fits = len(found.ink_shares) == len(found.ink_edges) + 1
        return found if ordered and fits and found.classes else None


def population_stability_index(counts: Sequence[float], shares: Sequence[float]) -> float:
    """Hold counts against the shares that were expected of them (population stability index)."""
    total = sum(counts) + _PSEUDO_COUNT * len(counts)
    index = 0.0
    for count, expected in zip(counts, shares, strict=True):
        now, then = (count + _PSEUDO_COUNT) / total, max(expected, _LEAST_SHARE)
        index += (now - then) * math.log(now / then)
    return index


@dataclass
class WindowStats:
    """WindowStats a window: what some images looked like, and what they were read as."""

    images: int = 0
    mass: float = 0.0
    ink_bins: list[int] = field(default_factory=list)
    """Images by the ink_bins of the baseline's ink mass."""
    labels: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "WindowStats") -> "WindowStats":
        """Add up."""
        longer, shorter = sorted((self.ink_bins, other.ink_bins), key=len, reverse=True)
        ink_bins = [count + (shorter[place] if place < len(shorter) else 0) for place, count in enumerate(longer)]
        return WindowStats(self.images + other.images, self.mass + other.mass, ink_bins, self.labels + other.labels)


class Window:
    """The images that a version has read last."""

    def __init__(self, model: str, version: int, baseline: Baseline | None) -> None:
        """Begin with none."""
        self._model, self._version, self._baseline = model, version, baseline
        self._edges = np.array(baseline.ink_edges if baseline else (), np.float32)
        self._older, self._newer = WindowStats(), WindowStats()

    def add(self, mass: Floats, labels: Sequence[str]) -> None:
        """Take in images by their ink mass, and what they were read as."""
        counts = ink_histogram(mass, self._edges)
        self._newer = self._newer.merge(WindowStats(len(mass), float(mass.sum()), counts, Counter(labels)))
        if self._newer.images >= HALF_WINDOW:
            self._older, self._newer = self._newer, WindowStats()

    def stats(self) -> WindowStats:
        """Tell what is in it."""
        return self._older.merge(self._newer)

    def to_json(self) -> dict[str, Any]:
        """Write down what is in it, and what to hold it against."""
        baseline = asdict(self._baseline) if self._baseline else None
        seen = vars(self.stats())  # not `asdict`, which would count the items of the Counter
        return {"model": self._model, "version": self._version, "seen": seen, "baseline": baseline}


def merge_windows(windows: Iterable[dict[str, Any]]) -> dict[tuple[str, int], tuple[WindowStats, Baseline | None]]:
    """Add up written windows by model and version."""
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
    """Give the indices of ink mass and classes; none when there were too few images to tell."""
    if seen.images < MIN_IMAGES:
        return {}
    names = list(baseline.classes)
    return {
        "ink": population_stability_index(seen.ink_bins, baseline.ink_shares),
        "classes": population_stability_index(
            [seen.labels[name] for name in names], [baseline.classes[name] for name in names]
        ),
    }
