"""What metrics cost a request, in µs: `python -m benchmarks.metrics_cost`.

Beside them the same figures for the counters of Prometheus's own client, which a request of 19 µs cannot afford.
"""

import time
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

from service.observability.exposition import exposition
from service.observability.metrics import Metrics
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import open_store
from service.serving.model import load_and_warm
from training.data import load_dataset

ROUNDS, CALLS = 7, 20_000


def microseconds(action: Callable[[int], object]) -> float:
    """Time an action: the best of some rounds, the first of which only warms up."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for number in range(CALLS):
            action(number)
        best = min(best, time.perf_counter() - started)
    return best / CALLS * 1e6


def main() -> None:
    """Print the table."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(open_store(folder))
        install_bundled_models(registry, "production")
        snapshot = load_and_warm(registry.load("mnist", 1), 1)
    glyphs = load_dataset("starter").train.images[:1024]
    metrics, single, labels = Metrics(), [glyphs[place : place + 1] for place in range(1024)], [["3"]] * 1024
    for size in (8, 64):
        batch = (glyphs[:size], ["3"] * size, [0.99] * size)
        cost = microseconds(lambda _: metrics.record_predictions(snapshot, *batch, 5e-5))  # noqa: B023 -- called at once
        print(f"predicted, batches of {size:3}    {cost / size:6.2f} µs an image")

    def one(number: int) -> None:
        metrics.record_predictions(snapshot, single[number % 1024], labels[number % 1024], [0.99], 5e-5)

    print(f"predicted, one image        {microseconds(one):6.2f} µs")
    cost = microseconds(lambda number: metrics.record_responses("/predict", "POST", 200, number * 1e-6))
    print(f"answered                    {cost:6.2f} µs")
    print(
        f"waited                      {microseconds(lambda number: metrics.record_queue_wait(number * 1e-7)):6.2f} µs"
    )
    print(f"the text for Prometheus     {_text(metrics):6.0f} µs a scrape")
    theirs = CollectorRegistry()
    requests = Counter("requests", "-", ("route", "method", "code"), registry=theirs)
    seconds = Histogram("seconds", "-", ("route",), registry=theirs)
    answers = Counter("answers", "-", ("model", "label"), registry=theirs)
    confidence = Histogram("confidence", "-", registry=theirs)

    def answered(number: int) -> None:
        requests.labels("/predict", "POST", "200").inc()
        seconds.labels("/predict").observe(number * 1e-6)

    def predicted(_: int) -> None:
        answers.labels("mnist", "3").inc()
        confidence.observe(0.99)

    print(f"their answered              {microseconds(answered):6.2f} µs")
    print(f"their predicted             {microseconds(predicted):6.2f} µs, without batches, compute time and drift")


def _text(metrics: Metrics) -> float:
    times = []
    for _ in range(50):
        started = time.perf_counter()
        exposition(metrics.collect())
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


if __name__ == "__main__":
    main()
