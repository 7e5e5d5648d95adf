"""The objects that all routes, the fast path and the middleware share. `service.bootstrap` builds them."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from service.api.auth import Authorizer
from service.api.limits import ConcurrencyLimiter
from service.errors import Unavailable
from service.inference.decoding import Decoder
from service.inference.images import ImageLimits
from service.inference.predictions import PredictionRecorder
from service.inference.statistics import InferenceStatistics
from service.jobs.evaluation import EvaluationCache
from service.jobs.queue import JobQueue
from service.jobs.watcher import JobWatcher
from service.observability.metrics import Metrics
from service.observability.shared_memory import PeerProcesses
from service.observability.telemetry import Telemetry
from service.registry.registry import Registry
from service.samples.recent import RecentPredictions
from service.samples.store import SampleStore
from service.serving.model import ServingModel
from service.serving.predictor import Predictor
from service.settings import Settings

STATUS_INTERVAL_SECONDS = 0.5
"""How often a process writes its page. A killed process loses the counts since its last page."""


@dataclass(frozen=True)
class Services:
    """The shared objects of one application."""

    settings: Settings
    registry: Registry
    predictor: Predictor
    jobs: JobQueue
    job_watcher: JobWatcher
    metrics: Metrics
    samples: SampleStore
    recent: RecentPredictions
    recorder: PredictionRecorder
    authorizer: Authorizer
    limiter: ConcurrencyLimiter
    evaluations: EvaluationCache
    decoder: Decoder
    shutting_down: threading.Event
    """Set when shutdown begins. Long-lived responses end then."""
    statistics: InferenceStatistics = field(default_factory=InferenceStatistics)
    telemetry: Telemetry | None = None
    """The span exporter; None unless an OTLP endpoint is configured."""
    peers: PeerProcesses | None = None
    """The other API processes of this host; None when there is only one process."""

    def ready_snapshot(self) -> ServingModel:
        """Return the snapshot that serves predictions.

        Raises Unavailable during shutdown, and before a model and the API keys are loaded.
        """
        if self.shutting_down.is_set():
            raise Unavailable("the server is shutting down", retry_after_seconds=1)
        self.authorizer.require_loaded("predict")
        return self.predictor.serving

    @property
    def image_limits(self) -> ImageLimits:
        """Limits that are checked before an image is decoded."""
        limits = self.settings
        return ImageLimits(limits.max_image_bytes, limits.max_image_pixels, limits.max_image_side)


def process_status(services: Services) -> dict[str, Any]:
    """Return the health of this process: its number, readiness, serving version and last load error."""
    number = services.peers.number if services.peers else 0
    ready, version = True, None
    try:
        version = services.predictor.serving.version
        services.ready_snapshot()
    except Unavailable:
        ready = False
    return {"process": number, "ready": ready, "version": version, "trouble": services.predictor.last_error}


def all_process_statuses(services: Services) -> list[dict[str, Any]]:
    """Return the health of every API process of this host, this one first. A dead process is not ready."""
    pages = services.peers.peer_pages() if services.peers else []
    return [
        process_status(services),
        *(page["state"] | ({} if page["is_alive"] else {"ready": False}) for page in pages),
    ]


def write_status(services: Services) -> None:
    """Write this process's health and metrics to shared memory, if there are other processes."""
    if services.peers:
        services.peers.write({"state": process_status(services), **services.metrics.to_page()})


async def write_status_periodically(services: Services) -> None:
    """Call `write_status` until cancelled; return at once if there are no other processes."""
    while services.peers:
        write_status(services)
        await asyncio.sleep(STATUS_INTERVAL_SECONDS)
