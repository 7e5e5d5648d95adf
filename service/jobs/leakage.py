"""Which examples a version has not learned from, as far as its manifest can tell."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import ServiceError
from service.jobs.datasets import BUNDLED, resolve_recipe
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from training import Dataset, TrainingError
from training.arrays import Pixels
from training.data import mnist
from training.experiment import split
from training.recipe import Recipe

_MOST_ANCESTORS = 20


def exclude_seen(
    examples: Dataset, registry: Registry, manifest: Manifest, datasets_dir: Path | None
) -> Dataset | None:
    """Keep the examples that neither a version nor those that it goes on from have learned from; None: not known.

    Samples of users that it learned from do not count: they are in no data set.
    """
    learned: set[bytes] = set()
    ancestor: Manifest | None = manifest
    for _ in range(_MOST_ANCESTORS):
        if ancestor is None:
            rows = [row for row, image in enumerate(examples.images) if _digest(image) not in learned]
            return examples.take(np.array(rows, np.int64))
        try:
            examined = _learned(ancestor, datasets_dir)
            ancestor = _start(registry, ancestor)
        except (TrainingError, ServiceError, AttributeError, KeyError, TypeError, ValueError):  # by odd manifests, too
            return None
        if examined is None:
            return None
        learned |= {_digest(image) for image in examined.images}
    return None


def recipe_from_manifest(manifest: Manifest) -> Recipe:
    """Give the recipe that a version was made by, without what it learned beside. Raises TrainingError."""
    settings: dict[str, Any] = dict(manifest.details.get("settings") or {"data": None})
    for beside in ("extra_data", "start_from", "teachers"):
        settings.pop(beside, None)
    return Recipe("of a version", "").replace(**settings)


def _learned(manifest: Manifest, datasets_dir: Path | None) -> Dataset | None:
    """Divide a version's data set again as its recipe did; None when it is not here, or not the same any more."""
    recipe = recipe_from_manifest(manifest)
    had_extra = (manifest.details.get("settings") or {}).get("extra_data") is not None
    name = recipe.data.data
    if name.startswith(("http://", "https://")):
        return None  # it is not downloaded only for this
    if name in mnist.PUBLISHED and mnist.find_folder(mnist.PUBLISHED[name]) is None:
        return None  # nor is this
    learned = split(resolve_recipe(recipe, datasets_dir)).train
    told = manifest.details.get("data", {})
    if any(teacher.get("fingerprint") != told.get("fingerprint") for teacher in told.get("teachers", ())):
        return None  # those who taught it may have learned from other examples
    is_same = told.get("fingerprint") == learned.fingerprint()
    return learned if is_same or (had_extra and name in BUNDLED) else None


def _start(registry: Registry, manifest: Manifest) -> Manifest | None:
    """Find the version that a version goes on from. Raises NotFound when it is gone."""
    said = (manifest.details.get("settings") or {}).get("start_from")
    if said is None:
        return None
    name, _, number = str(said).partition(" version ")
    return registry.manifest(name, int(number) if number.isdigit() else 0)


def _digest(image: Pixels) -> bytes:
    return sha256(image.tobytes()).digest()[:16]
