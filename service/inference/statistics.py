"""Inference statistics by model and version, as in the statistics extension of the V2 protocol.

They cover this process since it started. Not thread-safe; call from the event loop.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Duration:
    """A count and a total duration."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Add one event."""
        self.count += 1
        self.ns += ns

    def to_json(self) -> dict[str, int]:
        """Return it in the form of the extension."""
        return {"count": self.count, "ns": self.ns}


@dataclass(frozen=True)
class PhaseTimes:
    """Durations of the phases of one request, in nanoseconds."""

    queue: int
    """Time until a thread was available."""
    compute_input: int
    """From the body of the request to the features."""
    compute_infer: int
    compute_output: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.queue + self.compute_input + self.compute_infer + self.compute_output


_COMPUTE = ("compute_input", "compute_infer", "compute_output")
_PHASES = ("queue", *_COMPUTE)


def _durations(*names: str) -> Callable[[], dict[str, Duration]]:
    return lambda: {name: Duration() for name in names}


@dataclass
class _Counts:
    last_inference_ms: int = 0
    images: int = 0
    all: dict[str, Duration] = field(default_factory=_durations("success", "fail", *_PHASES))
    by_size: dict[int, dict[str, Duration]] = field(default_factory=dict)


class InferenceStatistics:
    """The statistics of all versions."""

    def __init__(self) -> None:
        """Start at zero."""
        self._versions: dict[tuple[str, int], _Counts] = {}

    def record_success(self, model: str, version: int, images: int, times: PhaseTimes) -> None:
        """Add a successful request."""
        counts = self._versions.setdefault((model, version), _Counts())
        counts.last_inference_ms = time.time_ns() // 1_000_000
        counts.images += images
        counts.all["success"].add(times.total)
        for name in _PHASES:
            counts.all[name].add(getattr(times, name))
        of_size = counts.by_size.setdefault(images, _durations(*_COMPUTE)())
        for name in _COMPUTE:
            of_size[name].add(getattr(times, name))

    def record_failure(self, model: str, version: int, ns: int) -> None:
        """Add a failed request for an existing version."""
        self._versions.setdefault((model, version), _Counts()).all["fail"].add(ns)

    def get(self, model: str, version: int) -> dict[str, Any]:
        """Return the statistics of a version; all are zero before its first request."""
        counts = self._versions.get((model, version), _Counts())
        inference = {name: duration.to_json() for name, duration in counts.all.items()}
        nothing = Duration().to_json()  # there is no response cache
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
