"""Tallies as Prometheus reads them, written by its client. Predictions are answered without: it is imported later."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.observability.tallies import Cells, Family, Labels, Tallies

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Shown(Collector):
    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies

    def collect(self) -> Iterator[Metric]:
        for family, samples in self._tallies.samples():
            yield _metric(family, samples)


def exposition(tallies: Tallies) -> bytes:
    """Write everything that is counted in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Shown(tallies))
    return generate_latest(registry)


def _metric(family: Family, samples: dict[Labels, Cells]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.explanation, labels=family.labels)
        for labels, (*counts, total) in samples.items():
            histogram.add_metric(labels, _cumulative(family.bounds, counts), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.explanation, labels=family.labels)
    for labels, (value,) in samples.items():
        metric.add_metric(labels, value)
    return metric


def _cumulative(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for bound, count in zip((*map(str, map(float, bounds)), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
