"""Training jobs over HTTP, and their progress as server-sent events (HTML standard, section 9.2)."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from service.api.dependencies import ServicesDep
from service.api.routes.job_validation import validate_job
from service.jobs.datasets import dataset_names
from service.jobs.events import JobEvent
from service.jobs.job import Job, Progress, trial_settings, trial_sort_key
from service.jobs.queue import JobQueue
from service.jobs.schemas import Datasets, EpochMetrics, JobInfo, Jobs, SearchTrialInfo, StepMetrics, TrainBody
from training import recipes

router = APIRouter(prefix="/train", tags=["training"])

_AFTER = "The `next` of the page before."


@router.post("", status_code=202)
def submit(
    services: ServicesDep,
    response: Response,
    body: TrainBody | None = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=255, description="The same key again answers the same job.")
    ] = None,
) -> JobInfo:
    """Queue a training job. Everything that can be checked is checked before: a bad setting is a 422 that names it."""
    job = services.jobs.submit(validate_job(body or TrainBody(), services), idempotency_key)
    response.headers["Location"] = f"train/{job.id}"  # as seen from here, whatever prefix a proxy has taken off
    return _info(job)


@router.get("")
def list_jobs(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200, description="Most jobs in one answer.")] = 50,
    after: Annotated[str | None, Query(max_length=120, description=_AFTER)] = None,
) -> Jobs:
    """List jobs, newest first."""
    jobs, following = services.jobs.page(limit, after)
    return Jobs(jobs=[_info(job, most=1) for job in jobs], next=following)


@router.get("/recipes")
async def list_recipes() -> dict[str, dict[str, Any]]:
    """List the recipes with their settings."""
    return {
        recipe.name: {"description": recipe.description, "settings": recipe.to_flat_dict()}
        for recipe in recipes.RECIPES.values()
    }


@router.get("/datasets")
def list_datasets(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most data sets in one answer.")] = 100,
    after: Annotated[str | None, Query(max_length=100, description=_AFTER)] = None,
) -> Datasets:
    """List the data sets that jobs may learn from: those of the library first, then those of the folder by name."""
    found = dataset_names(services.settings.datasets_dir, limit + 1, after)
    shown = found[:limit]
    return Datasets(datasets=shown, next=shown[-1] if len(found) > limit else None)


@router.get("/{job_id}")
def get_job(job_id: str, services: ServicesDep) -> JobInfo:
    """Show a job: its state, its progress within the epoch and epoch by epoch, its log, and what came of it."""
    job = services.jobs.get(job_id)
    return _info(job, trials=_table(job, services.jobs))


@router.delete("/{job_id}")
def cancel_job(job_id: str, services: ServicesDep) -> JobInfo:
    """Cancel a job that has not ended; what it had learned is gone."""
    return _info(services.jobs.cancel(job_id))


def _table(search: Job, jobs: JobQueue) -> list[SearchTrialInfo] | None:
    """List the trials of a search, the best first."""
    if not search.request.trials:
        return None
    return [
        SearchTrialInfo(
            id=trial.id,
            state=trial.state,
            settings=trial_settings(search, trial),
            detail=trial.detail,
            **{name: trial.metrics.get(name) for name in ("accuracy", "loss", "epochs", "seconds")},
        )
        for trial in sorted(jobs.trials(search), key=trial_sort_key)
    ]


def _info(job: Job, most: int = 0, trials: list[SearchTrialInfo] | None = None) -> JobInfo:
    progress = job.progress
    history = [epoch_response(epoch) for epoch in progress.history[-most:]]
    return JobInfo(
        id=job.id,
        state=job.state,
        request=asdict(job.request),
        created=job.created,
        started=job.started,
        finished=job.finished,
        attempts=job.attempts,
        strikes=job.crashes,
        epoch=progress.epoch,
        epochs=progress.epochs,
        current=None if job.is_final else step_response(progress),
        history=history,
        trials=trials,
        log=progress.log[-most:],
        model=job.request.model,
        version=job.version,
        promoted=job.promoted,
        detail=job.detail,
    )


_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would collect events before it sends them
_EVENT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
}


class EventStream(StreamingResponse):
    """An answer of server-sent events that are encoded already: FastAPI's own encodes them for each client anew."""

    media_type = "text/event-stream"


def epoch_response(epoch: dict[str, Any]) -> EpochMetrics:
    """Give what callers hear of an epoch."""
    return EpochMetrics(**{name: epoch.get(name) for name in EpochMetrics.model_fields})


def step_response(progress: Progress) -> StepMetrics | None:
    """Give what callers hear of the epoch at work."""
    return StepMetrics(**progress.current) if progress.current else None


@router.get(
    "/{job_id}/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "array"}, "itemSchema": _EVENT_SCHEMA}}}},
)
async def follow_job(
    job_id: str,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="Go on after this event, which browsers send by themselves.")
    ] = None,
) -> Response:
    """Follow a job. After a final state the stream ends; close it then, since browsers would open it again.

    `epoch` and `log` come once each, also after a reconnection; `progress` is how the epoch at work goes, `state` where
    the job stands, with its attempts. A reader that is slow gets fewer `progress` events. Only so many streams may be
    open at once (503).
    """
    job = await services.job_watcher.get(job_id)
    return EventStream(services.job_watcher.subscribe(job, last_event_id, _encoded), headers=_HEADERS)


def _encoded(pieces: Iterable[JobEvent]) -> bytes:
    return b"".join(map(_event, pieces))


def _event(piece: JobEvent) -> bytes:
    data: Any = piece.data
    match piece.kind:
        case "epoch":
            data = epoch_response(piece.data).model_dump()
        case "progress":
            data = StepMetrics(**piece.data).model_dump()
    place = b"id: %b\n" % piece.id.encode() if piece.id else b""
    return b"event: %b\ndata: %b\n%b\n" % (piece.kind.encode(), orjson.dumps(data), place)
