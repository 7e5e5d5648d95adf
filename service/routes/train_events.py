"""A training job as server-sent events: each epoch as it ends, each change of state, and then the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.dependencies import PartsDep
from service.errors import Unavailable
from service.job import Job
from service.schemas import EpochFigures

router = APIRouter()

_ASK_SECONDS = 0.3


def figures(epoch: dict[str, Any]) -> EpochFigures:
    """Give what callers hear of an epoch."""
    return EpochFigures(**{name: epoch.get(name) for name in EpochFigures.model_fields})


def _job(job_id: str, parts: PartsDep) -> Job:
    return parts.jobs.get(job_id)


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def follow_job(
    parts: PartsDep,
    job: Annotated[Job, Depends(_job)],
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="Go on after this event, which browsers send by themselves.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Follow a job: events `epoch` with their figures, and `state`; after a final state the stream ends.

    Close the stream then, since browsers would open it again.
    """
    attempt, seen = _place(last_event_id)
    state = None
    while True:
        if job.attempts != attempt:  # begun again by another worker: so do the epochs
            attempt, seen = job.attempts, 0
        for epoch in job.progress.history:
            if epoch["epoch"] > seen:
                seen = epoch["epoch"]
                yield ServerSentEvent(event="epoch", id=f"{attempt}-{seen}", data=figures(epoch))
        if job.state != state:
            state = job.state
            yield ServerSentEvent(event="state", data=_summary(job))
        if job.is_final or parts.draining.is_set():
            return
        await asyncio.sleep(_ASK_SECONDS)
        try:
            job = await asyncio.to_thread(parts.jobs.get, job.id)
        except Unavailable:
            continue


def _place(last_event_id: str | None) -> tuple[int, int]:
    """Read back an event's id; from the beginning when it is none of ours."""
    attempt, _, epoch = (last_event_id or "").partition("-")
    is_ours = attempt.isascii() and attempt.isdigit() and epoch.isascii() and epoch.isdigit()
    return (int(attempt), int(epoch)) if is_ours else (0, 0)


def _summary(job: Job) -> dict[str, Any]:
    return {"id": job.id, "state": job.state, "version": job.version, "promoted": job.promoted, "detail": job.detail}
