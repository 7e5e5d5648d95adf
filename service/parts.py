"""The parts of one application, put together by `service.assembly`."""

import threading
from dataclasses import dataclass, field

from service.access import Access
from service.decoding import Decoder
from service.errors import Unavailable
from service.images import ImageLimits
from service.inference.statistics import Statistics
from service.jobs.evaluation import EvaluationCache
from service.jobs.queue import JobQueue
from service.jobs.watcher import JobWatcher
from service.observability.board import Siblings
from service.observability.metrics import Metrics
from service.observability.telemetry import Telemetry
from service.registry.registry import Registry
from service.samples.recent import RecentPredictions
from service.samples.store import SampleStore
from service.serving.model import ServingModel
from service.serving.predictor import Predictor
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The parts of one application."""

    settings: Settings
    registry: Registry
    predictor: Predictor
    jobs: JobQueue
    job_watcher: JobWatcher
    metrics: Metrics
    samples: SampleStore
    recent: RecentPredictions
    access: Access
    evaluations: EvaluationCache
    draining: threading.Event
    """Set when the server is to end: what would go on for long ends now."""
    decoder: Decoder
    statistics: Statistics = field(default_factory=Statistics)
    telemetry: Telemetry | None = None
    """Where spans go, if anybody wants them."""
    siblings: Siblings | None = None
    """The other API processes of this host, if there are any."""

    def answering(self) -> ServingModel:
        """Give the snapshot that answers predictions.

        Raises Unavailable when the server is about to end, and before a model is loaded and the keys are read.
        """
        if self.draining.is_set():
            raise Unavailable("the server is about to end", retry_after_seconds=1)
        self.access.ensure_known("predict")
        return self.predictor.serving

    @property
    def image_limits(self) -> ImageLimits:
        """What images must keep to."""
        limits = self.settings
        return ImageLimits(limits.max_image_bytes, limits.max_image_pixels, limits.max_image_side)
