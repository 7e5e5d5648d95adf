"""The metrics of one application, as Prometheus scrapes them.

Recording appends to a list; aggregation runs every 128 images and on scrape. Only `set_serving` is thread-safe; call
everything else from the event loop.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.observability.counters import CounterTable, Labels, Values
from service.observability.metric_definitions import (
    BATCH_IMAGES,
    CONFIDENCES,
    FAMILIES,
    SECONDS,
    SHORT_SECONDS,
    TRIAL_COUNTS,
)
from service.observability.shared_memory import PeerProcesses
from service.serving.drift import Window, drift_psi, merge_windows
from service.serving.model import ServingModel
from training.evaluation.data_profile import mean_intensity
from training.types import Pixels

_FLUSH_IMAGES = 128
_MOST_WINDOWS = 8

_BATCH_IMAGES, _SHORT_SECONDS, _CONFIDENCES = (
    np.array(bounds, np.float64) for bounds in (BATCH_IMAGES, SHORT_SECONDS, CONFIDENCES)
)

CandidateCounts = tuple[dict[str, str], dict[str, int]]
"""The labels of the candidate, and its counts by name."""

_Batch = tuple[ServingModel, Pixels, Sequence[str], Sequence[float], float]


class Metrics:
    """All metrics of one application. Each application has its own instance."""

    def __init__(self, peers: PeerProcesses | None = None) -> None:
        """Start at zero, or continue the counters of the killed process that this one replaces."""
        self._counters = CounterTable(FAMILIES)
        self._peers = peers
        self._counters.merge(_without_gauges(peers.previous_page) if peers else {})
        self._responses: dict[tuple[str, str, int], Values] = {}
        self._batches: list[_Batch] = []
        self._pending_images, self._decoded = 0, 0
        self._windows: dict[tuple[str, int], Window] = {}
        self._queue_wait = self._counters.get("glyphserve_queue_seconds")
        self._serving: tuple[str, int] | None = None
        self._swaps = self._counters.get("glyphserve_model_swaps")[0]
        self._last_candidate: CandidateCounts = ({}, {})
        self.in_flight = 0
        """Requests in progress, without those of the fast path."""
        self.count_event_streams: Callable[[], int] = lambda: 0
        """Returns the number of open event streams."""
        self.decode_counts: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Returns how many images wait for a decoder thread, and how many were decoded."""
        self.is_load_failing: Callable[[], bool] = lambda: False
        """Returns whether the version of the alias fails to load."""
        self.count_damaged: Callable[[], int] = lambda: 0
        """Returns the number of damaged objects in the store."""
        self.candidate_counts: Callable[[], CandidateCounts | None] = lambda: None
        """Returns the counts of the candidate; None while there is no candidate."""

    def record_responses(self, route: str, method: str, status: int, *seconds: float) -> None:
        """Count responses, each with the seconds until it started."""
        key = (route, method, status)
        values = self._responses.get(key)
        if values is None:
            values = self._responses[key] = [0.0] * (len(SECONDS) + 2)
        for elapsed in seconds:
            values[bisect_left(SECONDS, elapsed)] += 1
            values[-1] += elapsed

    def record_predictions(
        self,
        snapshot: ServingModel,
        glyphs: Pixels,
        labels: Sequence[str],
        confidences: Sequence[float],
        seconds: float,
    ) -> None:
        """Count the predictions of one batch.

        `glyphs`, uint8 (n, 28, 28), must not be modified afterwards; `seconds` is the duration of inference.
        """
        if not labels:
            return
        self._batches.append((snapshot, glyphs, labels, confidences, seconds))
        self._pending_images += len(labels)
        if self._pending_images >= _FLUSH_IMAGES:
            self._flush_batches()

    def record_queue_wait(self, seconds: float) -> None:
        """Record how long a request, or the first of a batch, waited in the queue."""
        self._queue_wait[bisect_left(SHORT_SECONDS, seconds)] += 1
        self._queue_wait[-1] += seconds

    def record_rejection(self, reason: str) -> None:
        """Count an image that could not be decoded, by error code."""
        self._counters.get("glyphserve_images_rejected", reason)[0] += 1

    def record_fast_path_error(self) -> None:
        """Count an exception on the fast path."""
        self._counters.get("glyphserve_fast_path_errors")[0] += 1

    def set_serving(self, model: str, version: int) -> None:
        """Set the serving version. Thread-safe."""
        self._serving = (model, version)
        self._swaps += 1

    def collect(self, page: dict[str, Any] | None = None) -> CounterTable:
        """Sum the metrics of all processes. Thread-safe if this process's `page` is given."""
        counters, windows = CounterTable(FAMILIES), list[dict[str, Any]]()
        for other in self.all_pages(page):
            counters.merge(other["counters"])
            windows += other["windows"]
        _add_drift(counters, windows)
        return counters

    def _flush(self) -> CounterTable:
        """Aggregate what was recorded and read the gauges."""
        self._flush_requests()
        self._flush_batches()
        self._flush_candidate()
        counters = self._counters
        counters.get("glyphserve_requests_in_flight")[0] = self.in_flight
        counters.get("glyphserve_event_streams")[0] = self.count_event_streams()
        waiting, decoded = self.decode_counts()
        counters.get("glyphserve_images_decoding")[0] = waiting
        decoded, self._decoded = decoded - self._decoded, decoded
        counters.get("glyphserve_images_decoded")[0] += decoded
        counters.get("glyphserve_fast_path_errors")  # exported from the start: the alert looks for an increase
        counters.get("glyphserve_model_trouble")[0] = float(self.is_load_failing())
        counters.get("glyphserve_damaged_objects")[0] = self.count_damaged()
        counters.get("glyphserve_model_swaps")[0] = self._swaps
        serving = self._serving
        counters.replace("glyphserve_model_info", {(serving[0], str(serving[1])): 1.0} if serving else {})
        return counters

    def _flush_requests(self) -> None:
        responses, self._responses = self._responses, {}
        for (route, method, status), values in responses.items():
            self._counters.get("glyphserve_requests", route, method, str(status))[0] += sum(values[:-1])
            self._counters.add("glyphserve_request_seconds", (route,), values)

    def _flush_batches(self) -> None:
        batches, self._batches, self._pending_images = self._batches, [], 0
        versions = {id(batch[0]): batch[0] for batch in batches}
        for key, snapshot in versions.items():
            self._flush_version(snapshot, batches if len(versions) == 1 else [b for b in batches if id(b[0]) == key])

    def _flush_version(self, snapshot: ServingModel, batches: Sequence[_Batch]) -> None:
        """Aggregate all batches of one version."""
        _, glyphs, labels, confidences, seconds = zip(*batches, strict=True)
        self._observe("glyphserve_batch_images", _BATCH_IMAGES, list(map(len, labels)))
        self._observe("glyphserve_compute_seconds", _SHORT_SECONDS, seconds)
        self._observe("glyphserve_prediction_confidence", _CONFIDENCES, list(chain.from_iterable(confidences)))
        read = list(chain.from_iterable(labels))
        for label, count in Counter(read).items():
            self._counters.get("glyphserve_predictions", snapshot.model, label)[0] += count
        pixels = np.frombuffer(b"".join(glyphs), np.uint8)  # np.concatenate takes seven times as long
        self._window(snapshot).add(mean_intensity(pixels.reshape(len(read), -1)), read)

    def _observe(self, name: str, bounds: NDArray[np.float64], values: Sequence[float]) -> None:
        counts = np.bincount(bounds.searchsorted(values), minlength=len(bounds) + 1)
        self._counters.add(name, (), [*counts.tolist(), sum(values)])

    def _window(self, snapshot: ServingModel) -> Window:
        key = (snapshot.model, snapshot.version)
        window = self._windows.pop(key, None) or Window(*key, snapshot.baseline)
        self._windows[key] = window  # most recently used last
        if len(self._windows) > _MOST_WINDOWS:
            del self._windows[next(iter(self._windows))]
        return window

    def _flush_candidate(self) -> None:
        """Add what the candidate has counted since the last flush."""
        candidate = self.candidate_counts()
        if candidate is None:
            return
        labels, counts = candidate
        before = self._last_candidate[1] if self._last_candidate[0] == labels else {}
        for name in TRIAL_COUNTS:
            increase = counts[name] - before.get(name, 0)
            values = self._counters.get(f"glyphserve_trial_{name}", labels["model"], labels["version"], labels["mode"])
            values[0] += increase if increase >= 0 else counts[name]  # lower than before: the candidate was restarted
        self._last_candidate = (dict(labels), dict(counts))

    def to_page(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data, for other processes."""
        counters = self._flush().to_json()
        return {"counters": counters, "windows": [window.to_json() for window in self._windows.values()]}

    def all_pages(self, own: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the pages of all processes, this one first; a dead process keeps its counters and loses its gauges."""
        yield own or self.to_page()
        for page in self._peers.peer_pages() if self._peers else ():
            yield page if page["is_alive"] else {"counters": _without_gauges(page), "windows": []}


def _without_gauges(page: dict[str, Any]) -> dict[str, Any]:
    """Return the counters and histograms of a page."""
    gauges = {family.name for family in FAMILIES if family.kind == "gauge"}
    return {name: samples for name, samples in page.get("counters", {}).items() if name not in gauges}


def _add_drift(counters: CounterTable, windows: Sequence[dict[str, Any]]) -> None:
    for (model, version), (seen, baseline) in merge_windows(windows).items():
        labels: Labels = (model, str(version))
        counters.get("glyphserve_window_images", *labels)[0] = seen.images
        counters.get("glyphserve_ink_mean", *labels)[0] = seen.ink_sum / max(seen.images, 1)
        if baseline:
            counters.get("glyphserve_ink_baseline_mean", *labels)[0] = baseline.ink_mean
            for feature, index in drift_psi(seen, baseline).items():
                counters.get("glyphserve_drift", *labels, feature)[0] = index
