"""Liveness, readiness, metrics."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from service.api.dependencies import ServicesDep
from service.observability.exposition import CONTENT_TYPE, exposition
from service.services import all_process_statuses, write_status

router = APIRouter(tags=["health"])

_MOST_NAMED = 20


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Tell that the event loop turns."""
    return {"live": True}


@router.get("/health/ready")
async def ready(services: ServicesDep) -> dict[str, Any]:
    """Tell that a verified model answers (503 otherwise), which, and what trouble there is with a newer one.

    `damaged` names objects of the store that were found damaged and are left out.

    `jobs` tells what is wrong with the jobs database, which predictions do without.

    `processes` tells the same of each API process of this host, the one that answers first.
    """
    serving = services.ready_snapshot()
    return {
        "ready": True,
        "live": True,
        "model": serving.model,
        "alias": services.settings.alias,
        "version": serving.version,
        "generation": serving.generation,
        "trouble": services.predictor.last_error,
        "damaged": services.registry.store.damaged.keys()[:_MOST_NAMED],
        "jobs": await asyncio.to_thread(lambda: services.jobs.last_error),
        # The pages of 64 processes take longer to parse than the event loop may be held up.
        "processes": await asyncio.to_thread(all_process_statuses, services)
        if services.peers
        else all_process_statuses(services),
    }


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesDep) -> Response:
    """Give everything that is counted, in Prometheus's text format."""
    write_status(services)  # what was shown once is never lost, so that no count goes down
    page = services.metrics.to_page()
    content = await asyncio.to_thread(lambda: exposition(services.metrics.collect(page)))
    return Response(content, media_type=CONTENT_TYPE)
