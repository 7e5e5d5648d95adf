"""The models: immutable versions, and aliases that are append-only logs, all of it objects in the store.

    models/<name>/<version>/weights.npz      written first
    models/<name>/<version>/card.md, *.svg   what somebody wrote or drew about it, if anybody did
    models/<name>/<version>/manifest.json    written last: a version without it does not exist
    models/<name>/jobs/<job id>.json         the manifest of what a job made, decided once: it cannot publish twice
    models/<name>/aliases/<alias>/<generation>.json    as `aliases` tells

Whoever promotes a version holds a claim on it meanwhile, so that it is not deleted just then (`claims`, `collection`).

Everything but the weights is written create-only, so that two replicas that promote at once cannot both win.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from hashlib import sha256
from itertools import chain, islice
from typing import Any

from service.errors import Conflict, CorruptModel, InvalidInput, NotFound
from service.json_objects import read_object
from service.registry.aliases import AliasEntry, AliasLog, Candidate, validate_name
from service.registry.manifest import Manifest, load_verified
from service.registry.store import Store
from service.registry.version_locks import hold_lock, is_locked
from service.registry.versions import FILE as FILE
from service.registry.versions import Versions


class Registry(Versions):
    """Models, versions and aliases on a store."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        super().__init__(store)
        self._aliases = AliasLog(store)

    def publish(
        self,
        name: str,
        weights: bytes,
        details: dict[str, Any],
        *,
        job_id: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """Add a version: checked first, read back, its manifest written last.

        `files` are a card and pictures, by names that match FILE; others are left out. A job that publishes again gets
        the version that it made the first time. Raises CorruptModel when the weights do not pass their checks.
        """
        validate_name(name)
        if job_id and (decided := self._published_by_job(name, job_id)):
            return self._commit(decided, weights, files or {})
        load_verified(weights, Manifest(name, 0, details))
        number = self._allocate(name, weights)
        manifest = Manifest(name, number, details | {"name": name, "version": number, "job_id": job_id})
        if job_id:
            try:
                self.store.create(f"models/{name}/jobs/{job_id}.json", manifest.to_bytes())
            except FileExistsError:  # the same job, published by another worker in this moment
                self.store.delete(f"models/{name}/{number}/weights.npz")
                manifest = self._published_by_job(name, job_id) or manifest
        return self._commit(manifest, weights, files or {})

    def published(self, name: str, job_id: str) -> int | None:
        """Give the version that a job has published, if it has and that can still be read."""
        try:
            decided = self._published_by_job(name, job_id)
            return self.manifest(name, decided.version).version if decided else None
        except (CorruptModel, NotFound):
            return None

    def _allocate(self, name: str, weights: bytes) -> int:
        number = max(self._numbers(name), default=0)
        while True:
            number += 1
            try:
                self.store.create(f"models/{name}/{number}/weights.npz", weights)
            except FileExistsError:
                continue
            return number

    def _commit(self, manifest: Manifest, weights: bytes, files: Mapping[str, bytes]) -> Manifest:
        """Read back the weights in place, and write the manifest unless an earlier try did."""
        key = f"models/{manifest.name}/{manifest.version}"
        try:
            self.weights(manifest)
        except CorruptModel:
            if sha256(weights).hexdigest() != manifest.weights_sha256:
                raise
            self.store.put(f"{key}/weights.npz", weights)  # the very bytes that were decided on
        for file, content in files.items():
            if FILE.fullmatch(file):
                self.store.put(f"{key}/{file}", content)
        try:
            self.store.create(f"{key}/manifest.json", manifest.to_bytes())
        except FileExistsError:
            return self.manifest(manifest.name, manifest.version)
        return manifest

    def alias(self, name: str, alias: str) -> AliasEntry:
        """Say what an alias means now. Raises NotFound, or CorruptModel when its last entry cannot be read."""
        return self._aliases.now(name, alias)

    def generation(self, name: str, alias: str) -> int:
        """Count the promotions of an alias, also when its last entry cannot be read; 0 when it means nothing yet."""
        return self._aliases.expect(name, alias, None)

    def history(self, name: str, alias: str, most: int | None = None, before: int | None = None) -> list[AliasEntry]:
        """List what an alias has meant, newest first, without damaged entries.

        At most `most` entries are read, of generations before `before`.
        """
        return list(islice(self._aliases.history(name, alias, before), most))

    def alias_names(self, name: str) -> list[str]:
        """List the names of a model's aliases."""
        return self._aliases.names(name)

    def aliases(self, name: str) -> list[AliasEntry]:
        """List all aliases of a model, each by its newest entry that can be read."""
        states = (self.history(name, alias, most=1) for alias in self.alias_names(name))
        return [state for found in states for state in found]

    def promote(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        candidate: Candidate | None = None,
        expected_generation: int | None = None,
        reason: str = "by hand",
        load: Callable[[str, int], object] | None = None,
    ) -> AliasEntry:
        """Let an alias mean a version, after loading that version once; a candidate goes on trial beside it.

        `load` verifies a version in place of this registry's own `load`, for a caller that keeps what it loads.
        With `expected_generation` (0: the alias must be new) it happens only if nobody else was faster; raises
        PreconditionFailed otherwise, NotFound for an unknown version, CorruptModel for a damaged one, Conflict for
        one that is being deleted.
        """
        self._aliases.expect(name, alias, expected_generation)
        if candidate and candidate.version == version:
            raise InvalidInput("the candidate is the version itself", field="candidate")
        with ExitStack() as claims:
            for wanted in [version] + ([candidate.version] if candidate else []):
                self.manifest(name, wanted)
                claims.enter_context(hold_lock(self.store, self.version_prefix(name, wanted), "promoting"))
                if is_locked(self.store, self.version_prefix(name, wanted), "deleting"):
                    raise Conflict(f"version {wanted} is being deleted")
                (load or self.load)(name, wanted)
            return self._aliases.append(name, alias, version, candidate, expected_generation, reason)

    def roll_back(
        self,
        name: str,
        alias: str,
        *,
        expected_generation: int | None = None,
        reason: str = "rolled back",
        load: Callable[[str, int], object] | None = None,
    ) -> AliasEntry:
        """Let an alias mean again what it meant before the present version; raises Conflict when that is nothing.

        A trial ends with it. Of two who do this at once one fails, so that it cannot go back and forth.
        """
        generation = self._aliases.expect(name, alias, expected_generation)
        history = self._aliases.history(name, alias)
        newest = next(history, None)
        # A last entry that cannot be read never served: before it is the newest that can be.
        present = newest.version if newest and newest.generation == generation else None
        entries = chain([newest] if newest else [], history)
        before = next((state.version for state in entries if state.version != present), None)
        if before is None:
            raise Conflict("there is no earlier version to go back to")
        return self.promote(name, alias, before, expected_generation=generation, reason=reason, load=load)

    def _published_by_job(self, name: str, job_id: str) -> Manifest | None:
        try:
            content = self.store.get(f"models/{name}/jobs/{job_id}.json")
            return Manifest.read(name, int(read_object(content)["version"]), content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise CorruptModel("what the job has published before is damaged") from None
