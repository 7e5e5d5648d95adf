"""Training jobs over HTTP."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from service.dependencies import PartsDep
from service.jobs.datasets import dataset_names
from service.jobs.job import Job, trial_settings, trial_sort_key
from service.jobs.queue import JobQueue
from service.jobs.schemas import Datasets, JobInfo, Jobs, SearchTrialInfo, TrainBody
from service.routes import train_events
from service.routes.train_checks import checked
from training import recipes

router = APIRouter(prefix="/train", tags=["training"])

_AFTER = "The `next` of the page before."


@router.post("", status_code=202)
def submit(
    parts: PartsDep,
    response: Response,
    body: TrainBody | None = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=255, description="The same key again answers the same job.")
    ] = None,
) -> JobInfo:
    """Queue a training job. Everything that can be checked is checked before: a bad setting is a 422 that names it."""
    job = parts.jobs.submit(checked(body or TrainBody(), parts), idempotency_key)
    response.headers["Location"] = f"train/{job.id}"  # as seen from here, whatever prefix a proxy has taken off
    return _info(job)


@router.get("")
def list_jobs(
    parts: PartsDep,
    limit: Annotated[int, Query(ge=1, le=200, description="Most jobs in one answer.")] = 50,
    after: Annotated[str | None, Query(max_length=120, description=_AFTER)] = None,
) -> Jobs:
    """List jobs, newest first."""
    jobs, following = parts.jobs.page(limit, after)
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
    parts: PartsDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most data sets in one answer.")] = 100,
    after: Annotated[str | None, Query(max_length=100, description=_AFTER)] = None,
) -> Datasets:
    """List the data sets that jobs may learn from: those of the library first, then those of the folder by name."""
    found = dataset_names(parts.settings.datasets_dir, limit + 1, after)
    shown = found[:limit]
    return Datasets(datasets=shown, next=shown[-1] if len(found) > limit else None)


@router.get("/{job_id}")
def get_job(job_id: str, parts: PartsDep) -> JobInfo:
    """Show a job: its state, its progress within the epoch and epoch by epoch, its log, and what came of it."""
    job = parts.jobs.get(job_id)
    return _info(job, trials=_table(job, parts.jobs))


@router.delete("/{job_id}")
def cancel_job(job_id: str, parts: PartsDep) -> JobInfo:
    """Cancel a job that has not ended; what it had learned is gone."""
    return _info(parts.jobs.cancel(job_id))


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
    history = [train_events.figures(epoch) for epoch in progress.history[-most:]]
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
        current=None if job.is_final else train_events.current(progress),
        history=history,
        trials=trials,
        log=progress.log[-most:],
        model=job.request.model,
        version=job.version,
        promoted=job.promoted,
        detail=job.detail,
    )
