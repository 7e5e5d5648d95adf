"""Builds the shared services and runs their background tasks. Does not import the web framework.

The fast path needs only these services, so that it answers predictions while FastAPI is still being imported.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict

from service.api.auth import Authorizer
from service.api.keys import Keys
from service.api.limits import ConcurrencyLimiter
from service.errors import ServiceError
from service.inference.decoding import Decoder
from service.inference.predictions import PredictionRecorder
from service.jobs.evaluation import EvaluationCache
from service.jobs.queue import JobQueue
from service.jobs.watcher import JobWatcher
from service.observability.metrics import Metrics
from service.observability.shared_memory import PeerProcesses
from service.observability.telemetry import open_telemetry
from service.registry.bundled import install_bundled_models as install_into
from service.registry.registry import Registry
from service.registry.store import open_store
from service.samples.recent import RecentPredictions, shared_folder
from service.samples.store import open_samples
from service.services import Services, write_status, write_status_periodically
from service.serving.predictor import Predictor
from service.settings import Settings

log = logging.getLogger(__name__)


def build_services(settings: Settings, peers: PeerProcesses | None = None) -> Services:
    """Build the services. Nothing is loaded and no task runs before `running` is entered."""
    metrics, telemetry = Metrics(peers), open_telemetry()
    store = open_store(settings.store_location)
    registry = Registry(store)
    predictor = Predictor(
        registry,
        settings.model,
        settings.alias,
        on_reload=lambda fresh: metrics.set_serving(fresh.model, fresh.version),
    )
    recent = RecentPredictions(settings.remembered_images, shared_folder(settings.home) if peers else None)
    jobs, shutting_down = JobQueue(settings), threading.Event()
    job_watcher = JobWatcher(jobs, settings.max_event_streams, shutting_down)
    decoder = Decoder()
    metrics.is_load_failing = lambda: predictor.last_error is not None
    metrics.count_damaged = lambda: len(store.damaged.keys())
    metrics.count_event_streams = lambda: job_watcher.streams
    metrics.decode_counts = lambda: (decoder.waiting, decoder.decoded)
    metrics.candidate_counts = lambda: (
        (trial.labels, asdict(trial.stats())) if (trial := predictor.rollout) is not None else None
    )
    return Services(
        settings=settings,
        registry=registry,
        predictor=predictor,
        jobs=jobs,
        job_watcher=job_watcher,
        metrics=metrics,
        samples=open_samples(store, settings),
        recent=recent,
        recorder=PredictionRecorder(metrics, predictor, recent, telemetry, settings.max_batch_images),
        authorizer=Authorizer(Keys(store), settings),
        limiter=ConcurrencyLimiter(settings.max_running_requests, settings.max_waiting_requests),
        evaluations=EvaluationCache(registry, settings.datasets_dir),
        decoder=decoder,
        shutting_down=shutting_down,
        telemetry=telemetry,
        peers=peers,
    )


@contextlib.asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """Load the serving model and the API keys, keep both up to date while the block runs, then close everything."""
    is_installed = await asyncio.to_thread(install_bundled_models, services, services.settings.model)
    await asyncio.to_thread(services.predictor.refresh)
    await asyncio.to_thread(services.authorizer.refresh)
    refreshing = asyncio.create_task(_refresh_periodically(services, is_installed=is_installed))
    reporting = asyncio.create_task(write_status_periodically(services))
    yield
    refreshing.cancel()
    reporting.cancel()
    write_status(services)
    services.recent.close()
    services.decoder.close()
    await asyncio.to_thread(services.predictor.close)
    await asyncio.to_thread(services.jobs.close)
    if services.telemetry:
        await asyncio.to_thread(services.telemetry.close)


def install_bundled_models(services: Services, name: str | None = None) -> bool:
    """Add the bundled models, or the one called `name`, to the store. Return whether the store was reachable."""
    try:
        install_into(services.registry, services.settings.alias, name)
    except ServiceError as error:  # a model that the store has already may still serve; readiness shows if none does
        log.error("the bundled models were not installed: %s", error.detail)
        return False
    return True


async def _refresh_periodically(services: Services, *, is_installed: bool) -> None:
    while True:
        await asyncio.sleep(services.settings.alias_poll_seconds)
        is_installed = await asyncio.to_thread(_refresh, services, is_installed=is_installed)


def _refresh(services: Services, *, is_installed: bool) -> bool:
    services.authorizer.refresh()
    if not is_installed and services.predictor.last_error:  # the store was unreachable at start-up, and may be empty
        is_installed = install_bundled_models(services)
    services.predictor.refresh()
    return is_installed
