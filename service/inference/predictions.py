"""Predictions: their form in responses, and the one place where they are counted and kept for corrections."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.observability.metrics import Metrics
from service.observability.telemetry import Telemetry
from service.samples.recent import RecentPredictions
from service.serving.model import ServingModel
from service.serving.predictor import Predictor
from training.types import Floats, Pixels


def format_predictions(
    probabilities: Floats, labels: tuple[str, ...], top_k: int | None = None
) -> list[dict[str, Any]]:
    """Convert probabilities (n, classes) to entries of label, confidence and probabilities by label, highest first."""
    orders = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k].tolist()
    return [
        {
            "label": labels[order[0]],
            "confidence": values[order[0]],
            "probabilities": {labels[index]: values[index] for index in order},
        }
        for order, values in zip(orders, probabilities.tolist(), strict=True)
    ]


class PredictionRecorder:
    """Records predictions after they were computed. Not thread-safe; call from the event loop."""

    def __init__(
        self,
        metrics: Metrics,
        predictor: Predictor,
        recent: RecentPredictions,
        telemetry: Telemetry | None,
        max_images: int,
    ) -> None:
        """Of each request at most `max_images` images are compared with a candidate and kept for corrections."""
        self._metrics, self._predictor, self._recent, self._telemetry = metrics, predictor, recent, telemetry
        self._max_images = max_images

    def record_request(
        self,
        request_id: str,
        snapshot: ServingModel,
        glyphs: Pixels,
        labels: Sequence[str],
        confidences: Sequence[float],
        seconds: float,
        images: Sequence[Pixels | None] | None = None,
    ) -> None:
        """Record a request whose images, uint8 (n, 28, 28), were one batch.

        `images` are all images of the request, with None for those that could not be read; by default `glyphs`.
        """
        self.record_batch(snapshot, glyphs, labels, confidences, seconds)
        few = self._max_images
        if few < len(labels):
            glyphs, labels, confidences = glyphs[:few], labels[:few], confidences[:few]
        self._predictor.mirror(request_id, snapshot, glyphs, labels)
        seen = list(zip(labels, confidences, strict=True))
        kept = list(glyphs) if images is None else images
        self._recent.add(request_id, snapshot.model, snapshot.version, kept, seen)

    def record_batch(
        self,
        snapshot: ServingModel,
        glyphs: Pixels,
        labels: Sequence[str],
        confidences: Sequence[float],
        seconds: float,
    ) -> None:
        """Count a batch in the metrics and export its span. `seconds` is the duration of inference."""
        self._metrics.record_predictions(snapshot, glyphs, labels, confidences, seconds)
        if self._telemetry and labels:
            self._telemetry.record_inference(snapshot.model, snapshot.version, len(labels), seconds)
