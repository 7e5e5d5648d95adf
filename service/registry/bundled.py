"""Installation of the models that are bundled with the package into a store."""

import json
import logging
import threading
from pathlib import Path

from service.errors import CorruptModel, NotFound, PreconditionFailed
from service.registry.manifest import BUNDLED_PREFIX
from service.registry.registry import Registry
from service.registry.versions import FILE
from training.recipes.model_zoo import models_dir

log = logging.getLogger(__name__)

_INSTALLING = threading.Lock()
"""The service and its application both install at the start: two at once would leave a gap in the version numbers."""


def install_bundled_models(registry: Registry, alias: str, only: str | None = None) -> None:
    """Publish the newest bundled release of each model, or of one model, unless the store already has it.

    A release gets the alias only if the alias is new; what users have promoted stays. The store numbers the versions:
    the second release is version 1 of a store that never had the first.
    """
    folders = (folder for folder in models_dir().glob(f"{only or '*'}/*") if folder.name.isdigit())
    releases = {folder.parent.name: folder for folder in sorted(folders, key=lambda path: int(path.name))}
    installed: dict[str, int] = {}
    for name, folder in releases.items():
        try:
            with _INSTALLING:
                installed[name] = _install(registry, folder)
        except (CorruptModel, NotFound) as error:  # a damaged object in the store must not prevent the other releases
            log.error("cannot install the bundled model %s: %s", name, error.detail)
    for name, version in installed.items():
        try:
            registry.promote(name, alias, version, expected_generation=0, reason="bundled with the package")
        except PreconditionFailed:  # the alias exists
            continue
        except CorruptModel as error:
            log.error("cannot promote the bundled model %s: %s", name, error.detail)


def _install(registry: Registry, folder: Path) -> int:
    """Return the version of a release in the store; publish it if it is missing."""
    name, details = folder.parent.name, json.loads((folder / "manifest.json").read_text())
    job_id = f"{BUNDLED_PREFIX}{details['weights_sha256'][:16]}"
    version = registry.published(name, job_id) or _same_weights(registry, name, details["weights_sha256"])
    if version is None:
        weights = (folder / "weights.npz").read_bytes()
        files = {path.name: path.read_bytes() for path in folder.iterdir() if FILE.fullmatch(path.name)}
        version = registry.publish(name, weights, details, job_id=job_id, files=files).version
        log.info("installed the bundled model %s as version %d", name, version)
    return version


def _same_weights(registry: Registry, name: str, weights_sha256: str) -> int | None:
    """Return the newest version with these weights."""
    same = (m.version for m in reversed(registry.readable_manifests(name)) if m.weights_sha256 == weights_sha256)
    return next(same, None)
