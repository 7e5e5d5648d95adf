"""What Prometheus sees, from requests and batches as they come."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import numpy as np
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from service.observability.exposition import exposition
from service.observability.metrics import Metrics
from service.services import Services
from service.serving.drift import MIN_IMAGES
from service.serving.model import ServingModel
from training import Dataset


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Read Prometheus's text by (name, label values in the order of their names)."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def shown(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return samples(exposition(metrics.collect()).decode())


def batches(snapshot: ServingModel, digits: Dataset, size: int, count: int) -> Iterator[tuple[object, ...]]:
    for start in range(0, size * count, size):
        glyphs = digits.images[start : start + size]
        probabilities = snapshot.predict(glyphs)
        labels = [snapshot.labels[place] for place in probabilities.argmax(axis=1)]
        yield glyphs, labels, probabilities.max(axis=1).tolist()


def test_requests_are_counted_by_route_method_and_code_and_their_time_by_route() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.0001), (200, 0.003), (503, 0.3), (200, 60.0)):
        metrics.record_responses("/predict", "POST", status, seconds)
    for _ in range(2):  # looking at it changes nothing
        found = shown(metrics)
        assert found["glyphserve_requests_total", "200", "POST", "/predict"] == 3
        assert found["glyphserve_requests_total", "503", "POST", "/predict"] == 1
        assert found["glyphserve_request_seconds_bucket", "0.0005", "/predict"] == 1
        assert found["glyphserve_request_seconds_bucket", "0.005", "/predict"] == 2
        assert found["glyphserve_request_seconds_bucket", "10.0", "/predict"] == 3
        assert found["glyphserve_request_seconds_bucket", "+Inf", "/predict"] == 4
        assert found["glyphserve_request_seconds_sum", "/predict"] == 60.3031


async def test_every_image_is_counted_however_it_is_batched(app: FastAPI, digits: Dataset) -> None:
    services: Services = app.state.services
    snapshot, metrics = services.predictor.serving, Metrics()
    answers: list[str] = []
    for size, count in ((1, 7), (3, 30), (64, 2), (150, 1)):
        for glyphs, labels, confidences in batches(snapshot, digits, size, count):
            metrics.record_predictions(snapshot, glyphs, labels, confidences, 0.00007)  # type: ignore[arg-type]
            answers += labels  # type: ignore[arg-type]
    found, images = shown(metrics), 7 + 90 + 128 + 150
    assert len(answers) == images
    for label in snapshot.labels:
        assert found.get(("glyphserve_predictions_total", label, "mnist"), 0) == answers.count(label)
    assert found["glyphserve_prediction_confidence_count",] == images
    assert found["glyphserve_batch_images_count",] == found["glyphserve_compute_seconds_count",] == 40
    assert found["glyphserve_batch_images_sum",] == images
    assert found["glyphserve_batch_images_bucket", "4.0"] == 37
    assert found["glyphserve_window_images", "mnist", "1"] == images


async def test_digits_like_those_it_learned_from_do_not_drift_and_inverted_ones_do(
    app: FastAPI, digits: Dataset
) -> None:
    services: Services = app.state.services
    snapshot = services.predictor.serving
    assert snapshot.baseline is not None
    order = np.random.default_rng(0).permutation(len(digits))[:1000]
    alike, inverted = digits.images[order], 255 - digits.images[order]
    index = {}
    for name, glyphs in (("alike", alike), ("inverted", inverted)):
        metrics = Metrics()
        probabilities = snapshot.predict(glyphs)
        labels = [snapshot.labels[place] for place in probabilities.argmax(axis=1)]
        metrics.record_predictions(snapshot, glyphs, labels, probabilities.max(axis=1).tolist(), 0.001)
        found = shown(metrics)
        index[name] = [found["glyphserve_drift", feature, "mnist", "1"] for feature in ("ink", "classes")]
        assert np.isclose(found["glyphserve_ink_mean", "mnist", "1"], glyphs.mean() / 255)
        assert found["glyphserve_ink_baseline_mean", "mnist", "1"] == snapshot.baseline.ink_mean
    assert max(index["alike"]) < 0.05
    assert min(index["inverted"]) > 0.25


async def test_too_few_images_have_no_drift(app: FastAPI, digits: Dataset) -> None:
    services: Services = app.state.services
    snapshot, metrics = services.predictor.serving, Metrics()
    few = digits.images[: MIN_IMAGES - 1]
    metrics.record_predictions(snapshot, few, ["1"] * len(few), [1.0] * len(few), 0.001)
    assert not [key for key in shown(metrics) if key[0] == "glyphserve_drift"]


async def test_an_event_stream_counts_with_the_time_until_it_began(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/slow-stream")
    async def stream() -> object:
        from fastapi.responses import StreamingResponse

        async def pieces() -> object:
            yield b"first"
            await asyncio.sleep(0.3)
            yield b"last"

        return StreamingResponse(pieces())  # type: ignore[arg-type]

    started = time.perf_counter()
    answer = await client.get("/slow-stream")
    elapsed = time.perf_counter() - started
    assert answer.content == b"firstlast"
    found = samples((await client.get("/metrics")).text)
    assert found["glyphserve_request_seconds_count", "/slow-stream"] == 1
    assert found["glyphserve_request_seconds_sum", "/slow-stream"] < elapsed - 0.29


async def test_what_waits_and_what_is_refused_is_counted(client: httpx.AsyncClient, digits: Dataset) -> None:
    await client.post("/predict", json={"pixels": digits.images[0].tolist()})
    await client.post("/predict", content=b"x", headers={"Content-Type": "image/png"})
    found = samples((await client.get("/metrics")).text)
    assert found["glyphserve_queue_seconds_count",] == 2  # probes and metrics wait for nobody
    assert found["glyphserve_images_rejected_total", "unsupported_media_type"] == 1
    assert found["glyphserve_requests_in_flight",] == 1  # this one


async def test_versions_that_nobody_asks_for_any_more_are_forgotten(app: FastAPI, digits: Dataset) -> None:
    from dataclasses import replace

    services: Services = app.state.services
    metrics = Metrics()
    for version in range(1, 12):
        snapshot = replace(services.predictor.serving, version=version)
        metrics.record_predictions(snapshot, digits.images[:1], ["1"], [0.9], 0.001)
        exposition(metrics.collect())
    seen = {int(key[2]) for key in shown(metrics) if key[0] == "glyphserve_window_images"}
    assert seen == set(range(4, 12))
