"""The parts of an application put together, and what goes on while they live. Nothing here knows the web framework.

What serves predictions is there early: the rest of the application is imported while the first are answered.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict

from service.access import Access
from service.decoding import Decoder
from service.errors import ServiceError
from service.jobs.evaluation import EvaluationCache
from service.jobs.queue import JobQueue
from service.jobs.watcher import JobWatcher
from service.keys import Keys
from service.observability.board import Siblings
from service.observability.metrics import Metrics
from service.observability.telemetry import open_telemetry
from service.parts import Parts
from service.publishing import keep_publishing, publish
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import open_store
from service.samples.recent import RecentPredictions, shared_folder
from service.samples.store import open_samples
from service.serving.predictor import Predictor
from service.settings import Settings

log = logging.getLogger(__name__)


def assemble(settings: Settings, siblings: Siblings | None = None) -> Parts:
    """Put the parts together; no model is loaded and nothing runs before they are `living`."""
    metrics = Metrics(siblings)
    store = open_store(settings.store_location)
    registry = Registry(store)
    predictor = Predictor(
        registry, settings.model, settings.alias, on_reload=lambda fresh: metrics.serve(fresh.model, fresh.version)
    )
    metrics.trouble = lambda: predictor.last_error is not None
    metrics.damaged = lambda: len(store.damaged.keys())
    metrics.watch_trial(lambda: (trial.labels, asdict(trial.stats())) if (trial := predictor.rollout) else None)
    recent = RecentPredictions(settings.remembered_images, shared_folder(settings.home) if siblings else None)
    jobs, draining = JobQueue(settings), threading.Event()
    job_watcher = JobWatcher(jobs, settings.max_event_streams, draining)
    metrics.event_streams = lambda: job_watcher.streams
    decoder = Decoder()
    metrics.decoding = lambda: (decoder.waiting, decoder.decoded)
    return Parts(
        settings,
        registry,
        predictor,
        jobs,
        job_watcher,
        metrics,
        open_samples(store, settings),
        recent,
        Access(Keys(store), settings),
        EvaluationCache(registry, settings.datasets_dir),
        draining,
        decoder,
        siblings=siblings,
        telemetry=open_telemetry(),
    )


@contextlib.asynccontextmanager
async def living(parts: Parts) -> AsyncIterator[None]:
    """Load what serves, follow its alias and the keys, and tell siblings, as long as the block runs."""
    adopted = await asyncio.to_thread(adopt, parts, parts.settings.model)
    await asyncio.to_thread(parts.predictor.refresh)
    await asyncio.to_thread(parts.access.follow)
    following = asyncio.create_task(_follow(parts, adopted=adopted))
    publishing = asyncio.create_task(keep_publishing(parts))
    yield
    following.cancel()
    publishing.cancel()
    publish(parts)
    parts.recent.close()
    parts.decoder.close()
    await asyncio.to_thread(parts.predictor.close)
    await asyncio.to_thread(parts.jobs.close)
    if parts.telemetry:
        await asyncio.to_thread(parts.telemetry.close)


def adopt(parts: Parts, name: str | None = None) -> bool:
    """Add the released models to the store, or one of them by its name; tell whether the store could be reached."""
    try:
        install_bundled_models(parts.registry, parts.settings.alias, name)
    except ServiceError as error:  # what the store has may still serve; readiness tells if it does not
        log.error("the released models were not added: %s", error.detail)
        return False
    return True


async def _follow(parts: Parts, *, adopted: bool) -> None:
    while True:
        await asyncio.sleep(parts.settings.alias_poll_seconds)
        adopted = await asyncio.to_thread(_followed, parts, adopted=adopted)


def _followed(parts: Parts, *, adopted: bool) -> bool:
    parts.access.follow()
    if not adopted and parts.predictor.last_error:  # the store was out of reach when we started; it may be empty, too
        adopted = adopt(parts)
    parts.predictor.refresh()
    return adopted
