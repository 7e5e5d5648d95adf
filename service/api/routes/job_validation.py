"""From the body of POST /train to a job, checked as far as that can be done before it is queued."""

import math
from dataclasses import fields
from typing import Any

from service.errors import UnprocessableContent
from service.jobs.datasets import resolve
from service.jobs.job import JobRequest
from service.jobs.schemas import SearchBody, TrainBody
from service.jobs.validation import validate_request
from service.registry.aliases import NAME
from service.services import Services
from service.settings import Settings
from training import ConfigError, MLPConfig, Recipe, recipes
from training.recipes.model_zoo import find_release
from training.recipes.search import grid, sample_settings

_PATHS = ("data", "extra_data", "start_from", "teachers")


def validate_job(body: TrainBody, services: Services) -> JobRequest:
    """Make a job of a body. Raises UnprocessableContent that names the field, Unavailable."""
    field = "data" if body.dataset is None and "data" in body.settings else "dataset"
    request = _request(body, services.settings)
    return validate_request(request, services.registry, services.samples, services.settings, field=field)


def _request(body: TrainBody, settings: Settings) -> JobRequest:
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
        changed = recipe.replace(**changes)
        for teacher in changed.data.teachers:
            if find_release(teacher) is None:
                raise ConfigError("teachers are released models here, such as accurate", field="teachers")
        resolve(changed.data.data, settings.datasets_dir, field="data" if body.dataset is None else "dataset")
        changes["max_seconds"] = min(changes.get("max_seconds") or minutes * 60, minutes * 60)
        trials = _trials(body.search, changed, settings.max_queued_jobs, minutes * 60) if body.search else []
    except ConfigError as error:
        raise UnprocessableContent(str(error), field=error.field) from None
    model = body.model or settings.model
    if not NAME.fullmatch(model):
        raise UnprocessableContent("names are lower-case letters, digits, - and _, at most 63", field="model")
    start_from = body.start_from or (settings.alias if recipe.requires_initial_weights else None)
    known = {field.name for field in fields(MLPConfig)} & set(changes)
    if start_from and known:
        raise UnprocessableContent("the network is that of the version to go on from", field=min(known))
    if trials and (start_from or body.include_samples):
        raise UnprocessableContent(
            "a search begins with new networks and learns from the data set alone", field="search"
        )
    return JobRequest(body.recipe, changes, model, body.promote, body.include_samples, start_from, trials)


def _trials(search: SearchBody, recipe: Recipe, most: int, max_seconds: float) -> list[dict[str, Any]]:
    """Draw up the trials of a search. Raises ConfigError, or UnprocessableContent when they are more than may wait."""
    for name in set(search.space) & set(_PATHS):
        raise UnprocessableContent(f"a search cannot try {name}", field=name)
    if search.trials is None:
        count = math.prod(len(choices) for choices in search.space.values() if isinstance(choices, list))
        _limit(count, most, "space")
        trials = grid(recipe, search.space)
    else:
        _limit(search.trials, most, "trials")
        trials = sample_settings(recipe, search.space, search.trials, search.seed)
    for trial in trials:
        if "max_seconds" in trial:
            trial["max_seconds"] = min(trial["max_seconds"] or max_seconds, max_seconds)
    return trials


def _limit(count: int, most: int, field: str) -> None:
    if count > most:
        raise UnprocessableContent(
            f"a search may have as many trials as jobs may wait: {most}, not {count:,}", field=field
        )
