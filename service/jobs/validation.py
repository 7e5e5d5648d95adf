"""Validation of a job before it is queued: its data, its network, its samples, its model.

It reads labels, names and the beginnings of files but no whole images, so it takes a fraction of a second. The command
`glyphserve train` and `POST /train` reject the same jobs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.errors import CorruptModel, NotFound, UnprocessableContent
from service.jobs.datasets import resolve_recipe
from service.jobs.inputs import resolve_start_version
from service.jobs.job import JobRequest
from service.registry.manifest import Manifest, VerifiedModel
from service.registry.registry import Registry
from service.samples.store import SampleStore
from service.settings import Settings
from training import ConfigError, DataError, Recipe, WeightsError, load, recipes
from training.data.survey import survey
from training.recipes.feasibility import check

_DATA_SETTINGS = ("data", "classes", "pool", "test_share", "split_seed", "validation_share")
"""Settings that fine-tuning takes from the version that it starts from, so that both hold out the same examples."""


def validate_request(
    request: JobRequest, registry: Registry, samples: SampleStore, settings: Settings, *, field: str = "data"
) -> JobRequest:
    """Return a job request that can be trained; `field` is the caller's name for the data set.

    A recipe that fine-tunes a version uses the data set of that version unless another one is named. Raises
    UnprocessableContent with the name of the invalid field, Unavailable.
    """
    start = _load_start(registry, request)
    recipe = recipes.get(request.recipe)
    if start and recipe.requires_initial_weights:
        request = replace(request, settings=_inherit_data_settings(recipe, start.manifest, request, settings))
    if request.include_samples and not samples.list(request.model):
        raise UnprocessableContent(
            f"there are no samples of {request.model} yet; send some to POST /samples or add them with glyphserve "
            "samples add, or do not ask for them",
            field="include_samples",
        )
    for trial in request.trials or [{}]:
        classes = _classes(recipe.replace(**request.settings | trial), start, settings.datasets_dir, field)
    if start and start.manifest.labels != classes:
        raise UnprocessableContent(
            f"version {start.manifest.version} has the classes {_format(start.manifest.labels)}, but the data set has "
            f"{_format(classes)}; name a data set with the classes of the version",
            field=field,
        )
    if request.include_samples and classes and request.settings.get("classes") is None:
        unknown = sorted({entry.label for entry in samples.list(request.model)} - set(classes))
        if unknown:
            raise UnprocessableContent(
                f"there are samples of {_format(unknown)}, which are not in the data set; delete these samples, or "
                "name a data set with these classes",
                field="include_samples",
            )
    if request.promote == "if_better":
        _check_labels(registry, request, classes, settings.alias)
    return request


def _load_start(registry: Registry, request: JobRequest) -> VerifiedModel | None:
    """Load the version that a job starts from."""
    if request.start_from is None:
        return None
    try:
        return registry.load(request.model, resolve_start_version(registry, request))
    except (NotFound, CorruptModel) as error:
        raise UnprocessableContent(
            f"{error.detail}; name a version or an alias to start from", field="start_from"
        ) from None


def _inherit_data_settings(
    recipe: Recipe, manifest: Manifest, request: JobRequest, settings: Settings
) -> dict[str, Any]:
    """Return a job's settings plus the data settings of a version that differ from the recipe's."""
    inherited, own, requested = manifest.details.get("settings") or {}, recipe.to_flat_dict(), request.settings
    if requested.get("data", inherited.get("data")) != inherited.get("data"):
        return requested
    changes = {name: inherited[name] for name in _DATA_SETTINGS if name in inherited and inherited[name] != own[name]}
    if "data" in changes and "data" not in requested:
        try:
            resolve_recipe(recipe.replace(**changes), settings.datasets_dir)
        except UnprocessableContent:
            raise UnprocessableContent(
                f"the data set of version {manifest.version} is not here; name another one", field="dataset"
            ) from None
    return changes | requested


def _classes(recipe: Recipe, start: VerifiedModel | None, datasets_dir: Path | None, field: str) -> tuple[str, ...]:
    """Check a recipe against its data set; return the classes."""
    data = resolve_recipe(recipe, datasets_dir).data
    try:
        if start:
            recipe = recipe.continuing(start.network.config)
        elif data.start_from:  # a file, given to the command
            recipe = recipe.continuing(load(data.start_from).config)
        source = survey(data.data, skip_unreadable=data.skip_unreadable)
        if source is None:
            return start.manifest.labels if start else ()
        return check(recipe, source)
    except (ConfigError, WeightsError) as error:
        invalid = error.field if isinstance(error, ConfigError) else "start_from"
        # The caller cannot change the layers of the version.
        raise UnprocessableContent(str(error), field=field if start and invalid == "layers" else invalid) from None
    except DataError as error:
        detail = str(error).replace(f"{datasets_dir}/", "") if datasets_dir else str(error)
        raise UnprocessableContent(detail, field="classes" if recipe.data.classes else field) from None


def _check_labels(registry: Registry, request: JobRequest, classes: Sequence[str], alias: str) -> None:
    """Reject a job whose version would have other labels than the serving one and could never be promoted."""
    try:
        serving = registry.manifest(request.model, registry.alias(request.model, alias).version)
    except (NotFound, CorruptModel):
        return
    if classes and serving.labels != tuple(classes):
        raise UnprocessableContent(
            f"{request.model} has the classes {_format(serving.labels)}, but the data set has {_format(classes)}: the "
            "new version could never pass the comparison; name another model, or set promote to always or never",
            field="model",
        )


def _format(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
