"""Whether a job can come to an end, found out before it is queued: its data, its network, its samples, its model.

It reads labels, names and the beginnings of files, never whole pictures, so that it takes a fraction of a second. The
command `glyphserve train` and `POST /train` refuse the same jobs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.errors import CorruptModel, InvalidInput, NotFound
from service.jobs.datasets import resolve_recipe
from service.jobs.inputs import resolve_start_version
from service.jobs.job import JobRequest
from service.registry.manifest import Manifest, VerifiedModel
from service.registry.registry import Registry
from service.samples.store import SampleStore
from service.settings import Settings
from training import ConfigError, DataError, Recipe, WeightsError, load, recipes
from training.data.survey import survey
from training.feasibility import check

_OF_THE_DATA = ("data", "classes", "pool", "test_share", "split_seed", "validation_share")
"""What a recipe that goes on takes from the version that it goes on from, so that both hold out the same examples."""


def validate_request(
    request: JobRequest, registry: Registry, samples: SampleStore, settings: Settings, *, field: str = "data"
) -> JobRequest:
    """Hold a job against what it would find; `field` is what the caller calls its data set.

    A recipe that goes on from a version learns from that version's data set, unless another is named. Raises
    InvalidInput that names the field at fault, Unavailable.
    """
    loaded = _start(registry, request)
    recipe = recipes.get(request.recipe)
    if loaded and recipe.continues:
        request = replace(request, settings=_inherited(recipe, loaded.manifest, request, settings))
    if request.include_samples and not samples.list(request.model):
        raise InvalidInput(
            f"there are no samples of {request.model} yet; send some to POST /samples or add them with glyphserve "
            "samples add, or do not ask for them",
            field="include_samples",
        )
    for trial in request.trials or [{}]:
        classes = _classes(recipe.replace(**request.settings | trial), loaded, settings.datasets_dir, field)
    if loaded and loaded.manifest.labels != classes:
        raise InvalidInput(
            f"version {loaded.manifest.version} reads {_listed(loaded.manifest.labels)}, but the data set has "
            f"{_listed(classes)}; name a data set with the classes of the version",
            field=field,
        )
    if request.include_samples and classes and request.settings.get("classes") is None:
        unknown = sorted({entry.label for entry in samples.list(request.model)} - set(classes))
        if unknown:
            raise InvalidInput(
                f"there are samples of {_listed(unknown)}, which the data set has not; delete these samples, or name a "
                "data set with these classes",
                field="include_samples",
            )
    if request.promote == "if_better":
        _check_labels(registry, request, classes, settings.alias)
    return request


def _start(registry: Registry, request: JobRequest) -> VerifiedModel | None:
    """Load the version that a job goes on from."""
    if request.start_from is None:
        return None
    try:
        return registry.load(request.model, resolve_start_version(registry, request))
    except (NotFound, CorruptModel) as error:
        raise InvalidInput(f"{error.detail}; name a version or an alias to go on from", field="start_from") from None


def _inherited(recipe: Recipe, manifest: Manifest, request: JobRequest, settings: Settings) -> dict[str, Any]:
    """Add to a job's settings those by which the version's examples were chosen, as far as the recipe has others."""
    known, own, asked = manifest.details.get("settings") or {}, recipe.settings(), request.settings
    if asked.get("data", known.get("data")) != known.get("data"):
        return asked
    wanted = {name: known[name] for name in _OF_THE_DATA if name in known and known[name] != own[name]}
    if "data" in wanted and "data" not in asked:
        try:
            resolve_recipe(recipe.replace(**wanted), settings.datasets_dir)
        except InvalidInput:
            raise InvalidInput(
                f"version {manifest.version} has learned from a data set that is not here; name one", field="dataset"
            ) from None
    return wanted | asked


def _classes(recipe: Recipe, loaded: VerifiedModel | None, datasets_dir: Path | None, field: str) -> tuple[str, ...]:
    """Check a recipe against its data set; answer the classes."""
    data = resolve_recipe(recipe, datasets_dir).data
    try:
        if loaded:
            recipe = recipe.continuing(loaded.network.config)
        elif data.start_from:  # a file, by the command
            recipe = recipe.continuing(load(data.start_from).config)
        source = survey(data.data, skip_unreadable=data.skip_unreadable)
        if source is None:
            return loaded.manifest.labels if loaded else ()
        return check(recipe, source)
    except (ConfigError, WeightsError) as error:
        at_fault = error.field if isinstance(error, ConfigError) else "start_from"
        # The layers of the version are not the caller's to change.
        raise InvalidInput(str(error), field=field if loaded and at_fault == "layers" else at_fault) from None
    except DataError as error:
        detail = str(error).replace(f"{datasets_dir}/", "") if datasets_dir else str(error)
        raise InvalidInput(detail, field="classes" if recipe.data.classes else field) from None


def _check_labels(registry: Registry, request: JobRequest, classes: Sequence[str], alias: str) -> None:
    """Refuse a job whose version could only be rejected, since it would have other labels than the serving one."""
    try:
        serving = registry.manifest(request.model, registry.alias(request.model, alias).version)
    except (NotFound, CorruptModel):
        return
    if classes and serving.labels != tuple(classes):
        raise InvalidInput(
            f"{request.model} reads {_listed(serving.labels)}, but the data set has {_listed(classes)}: the new "
            "version could never take over by comparison; name another model, or set promote to always or never",
            field="model",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
