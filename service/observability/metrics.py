"""What Prometheus sees. Each application has its own, so that two in one process do not mix.

Requests and predictions are noted at the price of a list's `append`; what they add up to is worked out 64 images at a
time, and when somebody looks. All but `serve` is for the event loop's thread alone.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.observability import families
from service.observability.board import Siblings
from service.observability.families import FAMILIES, SECONDS, TRIAL_COUNTS
from service.observability.tallies import Cells, Labels, Tallies
from service.serving.drift import Window, drift_psi, merge_windows
from service.serving.model import ServingModel
from training.evaluation.data_profile import mean_intensity
from training.types import Pixels

_FOLDED_IMAGES = 128
_MOST_WINDOWS = 8

_BATCH_IMAGES, _SHORT_SECONDS, _CONFIDENCES = (
    np.array(bounds, np.float64) for bounds in (families.BATCH_IMAGES, families.SHORT_SECONDS, families.CONFIDENCES)
)

TrialCounts = tuple[dict[str, str], dict[str, int]]
"""Who is on trial, as labels, and what was counted, by name."""

_Batch = tuple[ServingModel, Pixels, Sequence[str], Sequence[float], float]


class Metrics:
    """All metrics of one application."""

    def __init__(self, siblings: Siblings | None = None) -> None:
        """Begin at zero, or go on where a process that was killed in this place ended; show all siblings' sum."""
        self._tallies = Tallies(FAMILIES)
        self._siblings = siblings
        self._tallies.absorb(_lasting(siblings.inherited) if siblings else {})
        self._answered: dict[tuple[str, str, int], Cells] = {}
        self._batches: list[_Batch] = []
        self._images, self._decoded = 0, 0
        self._windows: dict[tuple[str, int], Window] = {}
        self._queue = self._tallies.of("glyphserve_queue_seconds")
        self._serving: tuple[str, int] | None = None
        self._swaps = self._tallies.of("glyphserve_model_swaps")[0]
        self._trial: Callable[[], TrialCounts | None] = lambda: None
        self._trial_seen: TrialCounts = ({}, {})
        self.in_flight = 0
        """Requests being answered, beside those of the fast path."""
        self.event_streams: Callable[[], int] = lambda: 0
        """Asked how many event streams are open."""
        self.decoding: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Asked how many images wait to be decoded, and how many were."""
        self.trouble: Callable[[], bool] = lambda: False
        """Asked whether the alias's version cannot be loaded."""
        self.damaged: Callable[[], int] = lambda: 0
        """Asked how many objects of the store were found damaged."""

    def answered(self, route: str, method: str, status: int, *seconds: float) -> None:
        """Count requests, each by the time until its answer began."""
        key = (route, method, status)
        cells = self._answered.get(key)
        if cells is None:
            cells = self._answered[key] = [0.0] * (len(SECONDS) + 2)
        for each in seconds:
            cells[bisect_left(SECONDS, each)] += 1
            cells[-1] += each

    def predicted(
        self,
        snapshot: ServingModel,
        glyphs: Pixels,
        labels: Sequence[str],
        confidences: Sequence[float],
        seconds: float,
    ) -> None:
        """Count the answers of one batch: glyphs, uint8 (n, 28, 28), not to be changed any more; the network's time."""
        if not labels:
            return
        self._batches.append((snapshot, glyphs, labels, confidences, seconds))
        self._images += len(labels)
        if self._images >= _FOLDED_IMAGES:
            self._fold_batches()

    def waited(self, seconds: float) -> None:
        """Count the time that a request, or the first of a batch, waited for its turn."""
        self._queue[bisect_left(families.SHORT_SECONDS, seconds)] += 1
        self._queue[-1] += seconds

    def rejected(self, reason: str) -> None:
        """Count an image that could not be read, by the code of its error."""
        self._tallies.of("glyphserve_images_rejected", reason)[0] += 1

    def fast_path_failed(self) -> None:
        """Count an exception on the fast path."""
        self._tallies.of("glyphserve_fast_path_errors")[0] += 1

    def serve(self, model: str, version: int) -> None:
        """Note which version serves from now on. Any thread may."""
        self._serving = (model, version)
        self._swaps += 1

    def watch_trial(self, counts: Callable[[], TrialCounts | None]) -> None:
        """Count along how the trial of a candidate goes; `counts` answers None while there is none."""
        self._trial = counts

    def shown(self, page: dict[str, Any] | None = None) -> Tallies:
        """Add up what all processes count; with this process's `page`, any thread may call it."""
        tallies, windows = Tallies(FAMILIES), list[dict[str, Any]]()
        for each in self.pages(page):
            tallies.absorb(each["tallies"])
            windows += each["windows"]
        _tell_drift(tallies, windows)
        return tallies

    def tallies(self) -> Tallies:
        """Bring the tallies up to date, and give them."""
        self._fold_requests()
        self._fold_batches()
        self._fold_trial()
        tallies = self._tallies
        tallies.of("glyphserve_requests_in_flight")[0] = self.in_flight
        tallies.of("glyphserve_event_streams")[0] = self.event_streams()
        waiting, decoded = self.decoding()
        tallies.of("glyphserve_images_decoding")[0] = waiting
        decoded, self._decoded = decoded - self._decoded, decoded
        tallies.of("glyphserve_images_decoded")[0] += decoded
        tallies.of("glyphserve_fast_path_errors")  # shown from the start: an increase is what an alert looks for
        tallies.of("glyphserve_model_trouble")[0] = float(self.trouble())
        tallies.of("glyphserve_damaged_objects")[0] = self.damaged()
        tallies.of("glyphserve_model_swaps")[0] = self._swaps
        serving = self._serving
        tallies.replace("glyphserve_model_info", {(serving[0], str(serving[1])): 1.0} if serving else {})
        return tallies

    def _fold_requests(self) -> None:
        answered, self._answered = self._answered, {}
        for (route, method, status), cells in answered.items():
            self._tallies.of("glyphserve_requests", route, method, str(status))[0] += sum(cells[:-1])
            self._tallies.add("glyphserve_request_seconds", (route,), cells)

    def _fold_batches(self) -> None:
        batches, self._batches, self._images = self._batches, [], 0
        versions = {id(batch[0]): batch[0] for batch in batches}
        for key, snapshot in versions.items():
            self._fold_version(snapshot, batches if len(versions) == 1 else [b for b in batches if id(b[0]) == key])

    def _fold_version(self, snapshot: ServingModel, batches: Sequence[_Batch]) -> None:
        """Count the batches of one version, all at once."""
        _, glyphs, labels, confidences, seconds = zip(*batches, strict=True)
        self._observe("glyphserve_batch_images", _BATCH_IMAGES, list(map(len, labels)))
        self._observe("glyphserve_compute_seconds", _SHORT_SECONDS, seconds)
        self._observe("glyphserve_prediction_confidence", _CONFIDENCES, list(chain.from_iterable(confidences)))
        read = list(chain.from_iterable(labels))
        for label, count in Counter(read).items():
            self._tallies.of("glyphserve_predictions", snapshot.model, label)[0] += count
        pixels = np.frombuffer(b"".join(glyphs), np.uint8)  # NumPy's own joining costs seven times as much
        self._window(snapshot).add(mean_intensity(pixels.reshape(len(read), -1)), read)

    def _observe(self, name: str, bounds: NDArray[np.float64], values: Sequence[float]) -> None:
        counts = np.bincount(bounds.searchsorted(values), minlength=len(bounds) + 1)
        self._tallies.add(name, (), [*counts.tolist(), sum(values)])

    def _window(self, snapshot: ServingModel) -> Window:
        key = (snapshot.model, snapshot.version)
        window = self._windows.pop(key, None) or Window(*key, snapshot.baseline)
        self._windows[key] = window  # the newest stands last
        if len(self._windows) > _MOST_WINDOWS:
            del self._windows[next(iter(self._windows))]
        return window

    def _fold_trial(self) -> None:
        """Add what the trial has counted since it was looked at last."""
        now = self._trial()
        if now is None:
            return
        who, counts = now
        before = self._trial_seen[1] if self._trial_seen[0] == who else {}
        for name in TRIAL_COUNTS:
            grown = counts[name] - before.get(name, 0)
            cells = self._tallies.of(f"glyphserve_trial_{name}", who["model"], who["version"], who["mode"])
            cells[0] += grown if grown >= 0 else counts[name]  # less than before: it was begun again
        self._trial_seen = (dict(who), dict(counts))

    def page(self) -> dict[str, Any]:
        """Write down everything for siblings."""
        tallies = self.tallies().to_json()
        return {"tallies": tallies, "windows": [window.to_json() for window in self._windows.values()]}

    def pages(self, mine: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Give the pages of all processes; this process's own may be given."""
        yield mine or self.page()
        for page in self._siblings.others() if self._siblings else ():
            yield page if page["is_alive"] else {"tallies": _lasting(page), "windows": []}


def _lasting(page: dict[str, Any]) -> dict[str, Any]:
    """Give what a process has counted, without what was only so while it lived."""
    gauges = {family.name for family in FAMILIES if family.kind == "gauge"}
    return {name: samples for name, samples in page.get("tallies", {}).items() if name not in gauges}


def _tell_drift(tallies: Tallies, windows: Sequence[dict[str, Any]]) -> None:
    for (model, version), (seen, baseline) in merge_windows(windows).items():
        who: Labels = (model, str(version))
        tallies.of("glyphserve_window_images", *who)[0] = seen.images
        tallies.of("glyphserve_ink_mean", *who)[0] = seen.ink_sum / max(seen.images, 1)
        if baseline:
            tallies.of("glyphserve_ink_baseline_mean", *who)[0] = baseline.ink_mean
            for feature, index in drift_psi(seen, baseline).items():
                tallies.of("glyphserve_drift", *who, feature)[0] = index
