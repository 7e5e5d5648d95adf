"""Old versions are deleted: those beyond the newest few that nobody needs any more.

Never one that an alias means, or meant within its last entries, or tries as a candidate; never a released one; and
nothing at all of a model whose aliases cannot be read. The manifest goes first: a version without it does not exist, so
that half a version is never seen, and a deletion that was cut off is finished the next time.
"""

import logging
from contextlib import suppress

from service.errors import NotFound, ServiceError
from service.registry.registry import Registry
from service.registry.version_locks import hold_lock, is_locked

log = logging.getLogger(__name__)

PROTECTED_ENTRIES = 20
"""Entries of an alias whose versions are kept, so that there is something to go back to."""


def expired_versions(registry: Registry, name: str, keep: int) -> list[int]:
    """List a model's versions that may be deleted, oldest first, when the newest `keep` stay.

    Raises NotFound for an unknown model, CorruptModel when the log of an alias is damaged: what it means is not known.
    """
    kept = registry.newest(name, keep)
    old = registry.newest(name, before=kept[-1].version) if len(kept) == keep else []
    meant = _meant(registry, name) if old else set()
    return [m.version for m in reversed(old) if m.version not in meant and not m.is_bundled]


def prune(registry: Registry, name: str, keep: int) -> list[int]:
    """Delete what `expired_versions` lists, and answer which versions that were. Promotions may go on meanwhile."""
    for version in registry.interrupted_deletions(name):
        _delete_objects(registry, name, version)
    return [version for version in expired_versions(registry, name, keep) if _delete(registry, name, version)]


def try_prune(registry: Registry, name: str, keep: int) -> None:
    """Delete old versions after a new one was published; what goes wrong is no concern of the new one."""
    try:
        if gone := prune(registry, name, keep):
            log.info("deleted old versions of %s: %s", name, ", ".join(map(str, gone)))
    except ServiceError as error:
        log.warning("old versions of %s stay for now: %s", name, error.detail)


def _delete(registry: Registry, name: str, version: int) -> bool:
    """Delete a version unless somebody promotes it in this moment, or has done so since it was listed."""
    folder = registry.version_prefix(name, version)
    with hold_lock(registry.store, folder, "deleting"):
        # In this order: a promotion writes its entry before it lets go of its claim.
        if is_locked(registry.store, folder, "promoting") or version in _meant(registry, name):
            return False
        registry.store.delete(f"{folder}/manifest.json")
        _delete_objects(registry, name, version)
    return True


def _delete_objects(registry: Registry, name: str, version: int) -> None:
    keys = registry.store.list(registry.version_prefix(name, version))
    for key in sorted(keys, key=lambda key: "/deleting/" in key):  # the claims last: they tell what is unfinished
        registry.store.delete(key)
    registry.store.remove_empty_folders(registry.version_prefix(name, version))


def _meant(registry: Registry, name: str) -> set[int]:
    """List the versions that the aliases mean, meant lately, or try."""
    meant = set()
    for alias in registry.alias_names(name):
        with suppress(NotFound):  # the first entry is only just being written
            registry.alias(name, alias)  # raises CorruptModel when nobody knows what it means
        for state in registry.history(name, alias, PROTECTED_ENTRIES):
            meant |= {state.version} | ({state.candidate.version} if state.candidate else set())
    return meant
