"""The Prometheus text format, written by prometheus_client.

Imported with the application, not with the fast path: predictions do not need prometheus_client.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.observability.counters import CounterTable, Family, Labels, Values

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _TableCollector(Collector):
    def __init__(self, counters: CounterTable) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        for family, items in self._counters.items():
            yield _metric(family, items)


def exposition(counters: CounterTable) -> bytes:
    """Return all families in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_TableCollector(counters))
    return generate_latest(registry)


def _metric(family: Family, items: dict[Labels, Values]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (*counts, total) in items.items():
            histogram.add_metric(labels, _cumulative(family.bounds, counts), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, (value,) in items.items():
        metric.add_metric(labels, value)
    return metric


def _cumulative(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for bound, count in zip((*map(str, map(float, bounds)), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
