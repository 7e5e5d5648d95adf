"""The models that come with the package, and their way into the store."""

import json
import logging
from pathlib import Path

from service.errors import CorruptModel, NotFound, PreconditionFailed
from service.registry.manifest import BUNDLED_PREFIX
from service.registry.registry import FILE, Registry
from training.released import released_models

log = logging.getLogger(__name__)


def install_bundled_models(registry: Registry, alias: str, only: str | None = None) -> None:
    """Publish the newest release of each model (`<name>/<version>/`), or of one, that the store does not have yet.

    It gets the alias where that means nothing yet; what users have promoted stays. Versions are numbered by the store,
    so that the second release is version 1 of a store that never had the first.
    """
    folders = (folder for folder in released_models().glob(f"{only or '*'}/*") if folder.name.isdigit())
    releases = {folder.parent.name: folder for folder in sorted(folders, key=lambda path: int(path.name))}
    newest: dict[str, int] = {}
    for folder in releases.values():
        try:
            newest[folder.parent.name] = _adopted(registry, folder)
        except (CorruptModel, NotFound) as error:  # one damaged object in the store keeps no other release out
            log.error("the released model %s was not added: %s", folder.parent.name, error.detail)
    for name, version in newest.items():
        try:
            registry.promote(name, alias, version, expected_generation=0, reason="released with the service")
        except PreconditionFailed:  # it means something already
            continue
        except CorruptModel as error:
            log.error("the released model %s was not promoted: %s", name, error.detail)


def _adopted(registry: Registry, folder: Path) -> int:
    """Give the version of a release in the store, published now unless it is there."""
    name, details = folder.parent.name, json.loads((folder / "manifest.json").read_text())
    job_id = f"{BUNDLED_PREFIX}{details['weights_sha256'][:16]}"
    version = registry.published(name, job_id) or _same_weights(registry, name, details["weights_sha256"])
    if version is None:
        weights = (folder / "weights.npz").read_bytes()
        files = {path.name: path.read_bytes() for path in folder.iterdir() if FILE.fullmatch(path.name)}
        version = registry.publish(name, weights, details, job_id=job_id, files=files).version
        log.info("added released model %s version %d", name, version)
    return version


def _same_weights(registry: Registry, name: str, weights_sha256: str) -> int | None:
    """Find the newest version with these weights, whoever published it."""
    same = (m.version for m in reversed(registry.readable_manifests(name)) if m.weights_sha256 == weights_sha256)
    return next(same, None)
