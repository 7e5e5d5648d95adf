"""Leakage: which examples a version has been trained on, as far as its manifest says."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import ServiceError
from service.jobs.datasets import BUNDLED, resolve_recipe
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from training import Dataset, TrainingError
from training.data import published_sets
from training.recipes.config import Recipe
from training.recipes.experiment import load_splits
from training.types import Pixels

_MAX_ANCESTORS = 20


def exclude_seen(
    examples: Dataset, registry: Registry, manifest: Manifest, datasets_dir: Path | None
) -> Dataset | None:
    """Return the examples that neither a version nor its ancestors were trained on; None if that is unknown.

    Samples of users are ignored: they are in no data set.
    """
    seen: set[bytes] = set()
    ancestor: Manifest | None = manifest
    for _ in range(_MAX_ANCESTORS):
        if ancestor is None:
            rows = [row for row, image in enumerate(examples.images) if _digest(image) not in seen]
            return examples.select(np.array(rows, np.int64))
        try:
            training_set = _training_set(ancestor, datasets_dir)
            ancestor = _parent(registry, ancestor)
        except (
            TrainingError,
            ServiceError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ):  # malformed manifests too
            return None
        if training_set is None:
            return None
        seen |= {_digest(image) for image in training_set.images}
    return None


def recipe_from_manifest(manifest: Manifest) -> Recipe:
    """Return the recipe of a version without its extra inputs. Raises TrainingError."""
    settings: dict[str, Any] = dict(manifest.details.get("settings") or {"data": None})
    for name in ("extra_data", "start_from", "teachers"):
        settings.pop(name, None)
    return Recipe("of a version", "").replace(**settings)


def _training_set(manifest: Manifest, datasets_dir: Path | None) -> Dataset | None:
    """Split a version's data set again as its recipe did; None if it is missing here or has changed."""
    recipe = recipe_from_manifest(manifest)
    had_extra = (manifest.details.get("settings") or {}).get("extra_data") is not None
    name = recipe.data.data
    if name.startswith(("http://", "https://")):
        return None  # do not download it for this
    if name in published_sets.PUBLISHED and published_sets.find_folder(published_sets.PUBLISHED[name]) is None:
        return None  # likewise
    training_set = load_splits(resolve_recipe(recipe, datasets_dir)).train
    recorded = manifest.details.get("data", {})
    if any(teacher.get("fingerprint") != recorded.get("fingerprint") for teacher in recorded.get("teachers", ())):
        return None  # its teachers may have been trained on other examples
    is_same = recorded.get("fingerprint") == training_set.fingerprint()
    return training_set if is_same or (had_extra and name in BUNDLED) else None


def _parent(registry: Registry, manifest: Manifest) -> Manifest | None:
    """Return the version that a version started from. Raises NotFound if it was deleted."""
    reference = (manifest.details.get("settings") or {}).get("start_from")
    if reference is None:
        return None
    name, _, number = str(reference).partition(" version ")
    return registry.manifest(name, int(number) if number.isdigit() else 0)


def _digest(image: Pixels) -> bytes:
    return sha256(image.tobytes()).digest()[:16]
