"""A training job as server-sent events: its epochs, how the one at work goes, its log, its states, and then the end.

The format is that of the HTML standard, section 9.2 (server-sent events).
"""

from collections.abc import Iterable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from service.dependencies import PartsDep
from service.jobs.events import JobEvent
from service.jobs.job import Progress
from service.jobs.schemas import EpochMetrics, StepMetrics

router = APIRouter(prefix="/train", tags=["training"])

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would collect events before it sends them
_EVENT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
}


class EventStream(StreamingResponse):
    """An answer of server-sent events that are encoded already: FastAPI's own encodes them for each client anew."""

    media_type = "text/event-stream"


def figures(epoch: dict[str, Any]) -> EpochMetrics:
    """Give what callers hear of an epoch."""
    return EpochMetrics(**{name: epoch.get(name) for name in EpochMetrics.model_fields})


def current(progress: Progress) -> StepMetrics | None:
    """Give what callers hear of the epoch at work."""
    return StepMetrics(**progress.current) if progress.current else None


@router.get(
    "/{job_id}/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "array"}, "itemSchema": _EVENT_SCHEMA}}}},
)
async def follow_job(
    job_id: str,
    parts: PartsDep,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="Go on after this event, which browsers send by themselves.")
    ] = None,
) -> Response:
    """Follow a job. After a final state the stream ends; close it then, since browsers would open it again.

    `epoch` and `log` come once each, also after a reconnection; `progress` is how the epoch at work goes, `state` where
    the job stands, with its attempts. A reader that is slow gets fewer `progress` events. Only so many streams may be
    open at once (503).
    """
    job = await parts.job_watcher.get(job_id)
    return EventStream(parts.job_watcher.subscribe(job, last_event_id, _encoded), headers=_HEADERS)


def _encoded(pieces: Iterable[JobEvent]) -> bytes:
    return b"".join(map(_event, pieces))


def _event(piece: JobEvent) -> bytes:
    data: Any = piece.data
    match piece.kind:
        case "epoch":
            data = figures(piece.data).model_dump()
        case "progress":
            data = StepMetrics(**piece.data).model_dump()
    place = b"id: %b\n" % piece.id.encode() if piece.id else b""
    return b"event: %b\ndata: %b\n%b\n" % (piece.kind.encode(), orjson.dumps(data), place)
