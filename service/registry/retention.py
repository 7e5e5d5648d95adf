"""Deletion of old versions that are no longer needed.

Kept are: the newest versions, versions that an alias points to, pointed to in its last entries or rolls out as a
candidate, bundled versions, and all versions of a model whose aliases cannot be read. The manifest is deleted first: a
version without a manifest does not exist, so a partial version is never visible, and the next run completes an
interrupted deletion.
"""

import logging
from contextlib import suppress

from service.errors import NotFound, ServiceError
from service.registry.registry import Registry
from service.registry.version_locks import hold_lock, is_locked

log = logging.getLogger(__name__)

PROTECTED_ENTRIES = 20
"""Newest entries of each alias whose versions are kept for rollbacks."""


def expired_versions(registry: Registry, name: str, keep: int) -> list[int]:
    """Return a model's versions that may be deleted if the newest `keep` are kept, oldest first.

    Raises NotFound for an unknown model, CorruptModel if the log of an alias is damaged.
    """
    kept = registry.newest(name, keep)
    old = registry.newest(name, before=kept[-1].version) if len(kept) == keep else []
    referenced = _referenced_versions(registry, name) if old else set()
    return [m.version for m in reversed(old) if m.version not in referenced and not m.is_bundled]


def prune(registry: Registry, name: str, keep: int) -> list[int]:
    """Delete the expired versions and return their numbers. Safe while others promote."""
    for version in registry.interrupted_deletions(name):
        _delete_objects(registry, name, version)
    return [version for version in expired_versions(registry, name, keep) if _delete(registry, name, version)]


def try_prune(registry: Registry, name: str, keep: int) -> None:
    """Delete the expired versions; log an error instead of raising it."""
    try:
        if deleted := prune(registry, name, keep):
            log.info("deleted old versions of %s: %s", name, ", ".join(map(str, deleted)))
    except ServiceError as error:
        log.warning("cannot delete old versions of %s: %s", name, error.detail)


def _delete(registry: Registry, name: str, version: int) -> bool:
    """Delete a version unless it is being promoted, or was promoted since it was listed."""
    prefix = registry.version_prefix(name, version)
    with hold_lock(registry.store, prefix, "deleting"):
        # In this order: a promotion writes its entry before it releases its lock.
        if is_locked(registry.store, prefix, "promoting") or version in _referenced_versions(registry, name):
            return False
        registry.store.delete(f"{prefix}/manifest.json")
        _delete_objects(registry, name, version)
    return True


def _delete_objects(registry: Registry, name: str, version: int) -> None:
    prefix = registry.version_prefix(name, version)
    # The locks last: they mark an unfinished deletion.
    for key in sorted(registry.store.list(prefix), key=lambda key: "/deleting/" in key):
        registry.store.delete(key)
    registry.store.remove_empty_folders(prefix)


def _referenced_versions(registry: Registry, name: str) -> set[int]:
    """Return the versions that the aliases point to, pointed to in their last entries, or roll out."""
    referenced = set()
    for alias in registry.alias_names(name):
        with suppress(NotFound):  # its first entry is being written
            registry.alias(name, alias)  # raises CorruptModel if the current entry is unreadable
        for entry in registry.history(name, alias, PROTECTED_ENTRIES):
            referenced |= {entry.version} | ({entry.candidate.version} if entry.candidate else set())
    return referenced
