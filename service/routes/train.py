"""Training jobs over HTTP."""

from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from service.aliases import NAME
from service.datasets import locate, names
from service.dependencies import Parts, PartsDep
from service.errors import InvalidInput
from service.job import Job, JobRequest
from service.provisions import start_version
from service.routes import train_events
from service.settings import Settings
from service.train_schemas import Datasets, JobInfo, Jobs, TrainBody
from training import ConfigError, MLPConfig, recipes

router = APIRouter(prefix="/train", tags=["training"])
router.include_router(train_events.router)


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
    job = parts.jobs.submit(_checked(_request(body or TrainBody(), parts.settings), parts), idempotency_key)
    response.headers["Location"] = f"/train/{job.id}"
    return _info(job)


@router.get("")
def list_jobs(parts: PartsDep) -> Jobs:
    """List jobs, newest first."""
    return Jobs(jobs=[_info(job, most=1) for job in parts.jobs.list()])


@router.get("/recipes")
async def list_recipes() -> dict[str, dict[str, Any]]:
    """List the recipes with their settings."""
    return {
        recipe.name: {"description": recipe.description, "settings": recipe.settings()}
        for recipe in recipes.RECIPES.values()
    }


@router.get("/datasets")
def list_datasets(parts: PartsDep) -> Datasets:
    """List the data sets that jobs may learn from."""
    return Datasets(datasets=names(parts.settings.datasets_dir))


@router.get("/{job_id}")
def get_job(job_id: str, parts: PartsDep) -> JobInfo:
    """Show a job: its state, its progress within the epoch and epoch by epoch, its log, and what came of it."""
    return _info(parts.jobs.get(job_id))


@router.delete("/{job_id}")
def cancel_job(job_id: str, parts: PartsDep) -> JobInfo:
    """Cancel a job that has not ended; what it had learned is gone."""
    return _info(parts.jobs.cancel(job_id))


def _request(body: TrainBody, settings: Settings) -> JobRequest:
    """Check a job against the recipes. Raises InvalidInput that names the field."""
    changes = dict(body.settings)
    if body.dataset is not None:
        changes["data"] = body.dataset
    if body.seed is not None:
        changes["seed"] = body.seed
    minutes = min(body.max_minutes or settings.max_train_minutes, settings.max_train_minutes)
    try:
        recipe = recipes.get(body.recipe)
        for name in ("extra_data", "start_from"):
            if name in changes:
                raise ConfigError(f"{name} is a path; here there are include_samples and start_from", field=name)
        data = recipe.replace(**changes).data.data
        locate(data, settings.datasets_dir, field="data" if body.dataset is None else "dataset")
        changes["max_seconds"] = min(changes.get("max_seconds") or minutes * 60, minutes * 60)
    except ConfigError as error:
        raise InvalidInput(str(error), field=error.field) from None
    model = body.model or settings.model
    if not NAME.fullmatch(model):
        raise InvalidInput("names are lower-case letters, digits, - and _, at most 63", field="model")
    start_from = body.start_from or (settings.alias if recipe.continues else None)
    known = {field.name for field in fields(MLPConfig)} & set(changes)
    if start_from and known:
        raise InvalidInput("the network is that of the version to go on from", field=min(known))
    return JobRequest(body.recipe, changes, model, body.promote, body.include_samples, start_from)


def _checked(request: JobRequest, parts: Parts) -> JobRequest:
    """Look whether there is what the job shall be given. Raises NotFound or InvalidInput."""
    if request.start_from is not None:
        start_version(parts.registry, request)
    if request.include_samples and not parts.samples.list(request.model):
        raise InvalidInput("there are no samples of that model yet", field="include_samples")
    return request


def _info(job: Job, most: int = 0) -> JobInfo:
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
        strikes=job.strikes,
        epoch=progress.epoch,
        epochs=progress.epochs,
        current=None if job.is_final else train_events.current(progress),
        history=history,
        log=progress.log[-most:],
        model=job.request.model,
        version=job.version,
        promoted=job.promoted,
        detail=job.detail,
    )
