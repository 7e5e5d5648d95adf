"""What Prometheus sees. Each application has its own registry, so that two in one process do not mix."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)


TrialCounts = tuple[dict[str, str], dict[str, int]]
"""Who is on trial, as labels, and what was counted, by name."""

_TRIAL_COUNTS = {
    "requests": "Requests that the canary answered, or that were taken for the shadow.",
    "compared": "Images that both the candidate and the serving version have read.",
    "agreed": "Those on which both gave the same label.",
    "dropped": "Requests that were not compared, since comparing did not keep up.",
}


class Metrics:
    """All metrics of one application."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "glyphserve_requests", "Requests answered.", ("route", "method", "code"), registry=self._registry
        )
        self.latency = Histogram(
            "glyphserve_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self.in_flight = Gauge("glyphserve_requests_in_flight", "Requests being answered.", registry=self._registry)
        self.predictions = Counter(
            "glyphserve_predictions", "Images read, by answer.", ("model", "label"), registry=self._registry
        )
        self.confidence = Histogram(
            "glyphserve_prediction_confidence",
            "Confidence of the answers.",
            buckets=(0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
            registry=self._registry,
        )
        self.rejected = Counter(
            "glyphserve_images_rejected", "Images refused, by reason.", ("reason",), registry=self._registry
        )
        self.serving = Gauge(
            "glyphserve_model_info", "1 for the version that serves.", ("model", "version"), registry=self._registry
        )
        self.trouble = Gauge(
            "glyphserve_model_trouble", "1 while the alias's version cannot be loaded.", registry=self._registry
        )
        self.swaps = Counter("glyphserve_model_swaps", "Versions taken into service.", registry=self._registry)

    def watch_trial(self, counts: Callable[[], TrialCounts | None]) -> None:
        """Show how the trial of a candidate goes; `counts` answers None while there is none."""
        self._registry.register(_Trial(counts))

    def serve(self, model: str, version: int) -> None:
        """Note which version serves from now on."""
        self.serving.clear()
        self.serving.labels(model, str(version)).set(1)
        self.swaps.inc()

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request and the time its answer took."""
        self.requests.labels(route, method, str(status)).inc()
        self.latency.labels(route).observe(seconds)

    def predicted(self, model: str, labels: Sequence[str], confidences: Sequence[float]) -> None:
        """Count the answers of one batch."""
        for label, confidence in zip(labels, confidences, strict=True):
            self.predictions.labels(model, label).inc()
            self.confidence.observe(confidence)

    def text(self) -> bytes:
        """Write everything in Prometheus's text format."""
        return generate_latest(self._registry)


class _Trial(Collector):
    """The counts of the trial that goes on; with another candidate they begin at zero."""

    def __init__(self, counts: Callable[[], TrialCounts | None]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        trial = self._counts()
        for name, explanation in _TRIAL_COUNTS.items():
            labels, counts = trial or ({}, {})
            family = CounterMetricFamily(f"glyphserve_trial_{name}", explanation, labels=list(labels))
            if trial:
                family.add_metric(list(labels.values()), counts[name])
            yield family
