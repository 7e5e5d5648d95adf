"""Counts and times of inference by model and version, as the statistics extension of the V2 protocol tells them.

Kept by the event loop's thread alone: a request costs a few additions. They are those of this process since it began.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Duration:
    """How often something was done, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Count once more."""
        self.count += 1
        self.ns += ns

    def to_json(self) -> dict[str, int]:
        """Write it as the extension does."""
        return {"count": self.count, "ns": self.ns}


@dataclass(frozen=True)
class Times:
    """Where the time of one request went, in nanoseconds."""

    queue: int
    """Waiting for a thread."""
    compute_input: int
    """From the bytes of the request to what the network takes."""
    compute_infer: int
    compute_output: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.queue + self.compute_input + self.compute_infer + self.compute_output


_COMPUTE = ("compute_input", "compute_infer", "compute_output")
_PARTS = ("queue", *_COMPUTE)


def _durations(*names: str) -> Callable[[], dict[str, Duration]]:
    return lambda: {name: Duration() for name in names}


@dataclass
class _Counts:
    last_inference_ms: int = 0
    images: int = 0
    all: dict[str, Duration] = field(default_factory=_durations("success", "fail", *_PARTS))
    by_size: dict[int, dict[str, Duration]] = field(default_factory=dict)


class Statistics:
    """The statistics of one process."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._versions: dict[tuple[str, int], _Counts] = {}

    def succeeded(self, model: str, version: int, images: int, times: Times) -> None:
        """Count a request that was answered."""
        counts = self._versions.setdefault((model, version), _Counts())
        counts.last_inference_ms = time.time_ns() // 1_000_000
        counts.images += images
        counts.all["success"].add(times.total)
        for name in _PARTS:
            counts.all[name].add(getattr(times, name))
        of_size = counts.by_size.setdefault(images, _durations(*_COMPUTE)())
        for name in _COMPUTE:
            of_size[name].add(getattr(times, name))

    def failed(self, model: str, version: int, ns: int) -> None:
        """Count a request for a known version that could not be answered."""
        self._versions.setdefault((model, version), _Counts()).all["fail"].add(ns)

    def of(self, model: str, version: int) -> dict[str, Any]:
        """Give what is known of a version, all zero when nobody has asked it yet."""
        counts = self._versions.get((model, version), _Counts())
        inference = {name: duration.to_json() for name, duration in counts.all.items()}
        nothing = Duration().to_json()  # there is no cache of answers
        return {
            "name": model,
            "version": str(version),
            "last_inference": counts.last_inference_ms,
            "inference_count": counts.images,
            "execution_count": counts.all["success"].count,
            "inference_stats": inference | {"cache_hit": nothing, "cache_miss": nothing},
            "batch_stats": [
                {"batch_size": size, **{name: duration.to_json() for name, duration in durations.items()}}
                for size, durations in sorted(counts.by_size.items())
            ],
        }
