"""A training job as server-sent events: its epochs, how the one at work goes, its log, its states, and then the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.dependencies import PartsDep
from service.errors import Unavailable
from service.jobs.job import Job, Progress
from service.jobs.news import News, Piece
from service.jobs.schemas import CurrentFigures, EpochFigures

router = APIRouter()

_ASK_SECONDS = 0.3


def figures(epoch: dict[str, Any]) -> EpochFigures:
    """Give what callers hear of an epoch."""
    return EpochFigures(**{name: epoch.get(name) for name in EpochFigures.model_fields})


def current(progress: Progress) -> CurrentFigures | None:
    """Give what callers hear of the epoch at work."""
    return CurrentFigures(**progress.current) if progress.current else None


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
    """Follow a job. After a final state the stream ends; close it then, since browsers would open it again.

    `epoch` and `log` come once each, also after a reconnection; `progress` is how the epoch at work goes, `state` where
    the job stands, with its attempts.
    """
    news = News(last_event_id)
    while True:
        for piece in news.of(job):
            yield _event(piece)
        if job.is_final or parts.draining.is_set():
            return
        await asyncio.sleep(_ASK_SECONDS)
        try:
            job = await asyncio.to_thread(parts.jobs.get, job.id)
        except Unavailable:
            continue


def _event(piece: Piece) -> ServerSentEvent:
    data: Any = piece.data
    match piece.kind:
        case "epoch":
            data = figures(piece.data)
        case "progress":
            data = CurrentFigures(**piece.data)
    return ServerSentEvent(event=piece.kind, id=piece.place, data=data)
