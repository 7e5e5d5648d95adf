"""The model registry: immutable versions and append-only aliases, stored as objects.

    models/<name>/<version>/weights.npz      written first
    models/<name>/<version>/card.md, *.svg   optional model card and images
    models/<name>/<version>/manifest.json    written last: a version without it does not exist
    models/<name>/jobs/<job id>.json         the manifest that a job publishes, created once: it cannot publish twice
    models/<name>/aliases/<alias>/<generation>.json    see `aliases`

A promotion locks its version, so that it is not deleted at the same time (`version_locks`, `retention`). Everything but
the weights is written create-only, so that only one of several concurrent promotions succeeds.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from hashlib import sha256
from itertools import chain
from typing import Any

from service.errors import Conflict, CorruptModel, NotFound, UnprocessableContent
from service.json_objects import read_object
from service.registry.aliases import AliasEntry, AliasLog, Candidate, validate_name
from service.registry.manifest import Manifest, load_verified
from service.registry.version_locks import hold_lock, is_locked
from service.registry.versions import FILE, Versions


class Registry(Versions, AliasLog):
    """Models, versions and aliases in a store."""

    def publish(
        self,
        name: str,
        weights: bytes,
        details: dict[str, Any],
        *,
        job_id: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """Add a version: verify it, write its weights, read them back, and write its manifest last.

        `files` are a model card and images; names that do not match FILE are ignored. A job that publishes again gets
        the version that it published the first time. Raises CorruptModel if the weights fail a check.
        """
        validate_name(name)
        if job_id and (published := self._published_by_job(name, job_id)):
            return self._commit(published, weights, files or {})
        load_verified(weights, Manifest(name, 0, details))
        number = self._allocate(name, weights)
        manifest = Manifest(name, number, details | {"name": name, "version": number, "job_id": job_id})
        if job_id:
            try:
                self.store.create(f"models/{name}/jobs/{job_id}.json", manifest.to_bytes())
            except FileExistsError:  # another worker published for the same job just now
                self.store.delete(f"models/{name}/{number}/weights.npz")
                manifest = self._published_by_job(name, job_id) or manifest
        return self._commit(manifest, weights, files or {})

    def published(self, name: str, job_id: str) -> int | None:
        """Return the version that a job has published; None if there is none or it is unreadable."""
        try:
            published = self._published_by_job(name, job_id)
            return self.manifest(name, published.version).version if published else None
        except (CorruptModel, NotFound):
            return None

    def promote(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        candidate: Candidate | None = None,
        expected_generation: int | None = None,
        reason: str = "promoted manually",
        load: Callable[[str, int], object] | None = None,
    ) -> AliasEntry:
        """Point an alias to a version, and start the rollout of a candidate if given, after loading each once.

        `load` replaces this registry's own `load` for a caller that caches what it loads. With `expected_generation`
        (0 for a new alias) the call fails with PreconditionFailed if the alias has changed. Raises NotFound for an
        unknown version, CorruptModel for a damaged one, Conflict for one that is being deleted.
        """
        self.generation(name, alias, expected_generation)
        if candidate and candidate.version == version:
            raise UnprocessableContent("the candidate must be another version", field="candidate")
        with ExitStack() as locks:
            for number in [version] + ([candidate.version] if candidate else []):
                self.manifest(name, number)
                locks.enter_context(hold_lock(self.store, self.version_prefix(name, number), "promoting"))
                if is_locked(self.store, self.version_prefix(name, number), "deleting"):
                    raise Conflict(f"version {number} is being deleted")
                (load or self.load)(name, number)
            return self.append_entry(name, alias, version, candidate, expected_generation, reason)

    def roll_back(
        self,
        name: str,
        alias: str,
        *,
        expected_generation: int | None = None,
        reason: str = "rolled back",
        load: Callable[[str, int], object] | None = None,
    ) -> AliasEntry:
        """Point an alias to the version before the current one, and end a rollout. Raises Conflict if there is none.

        Only one of several concurrent calls succeeds, so that they cannot undo each other.
        """
        generation = self.generation(name, alias, expected_generation)
        history = self.iterate_history(name, alias)
        newest = next(history, None)
        # A damaged last entry never served; the newest readable one is then the previous version.
        current = newest.version if newest and newest.generation == generation else None
        entries = chain([newest] if newest else [], history)
        previous = next((entry.version for entry in entries if entry.version != current), None)
        if previous is None:
            raise Conflict("there is no earlier version to go back to")
        return self.promote(name, alias, previous, expected_generation=generation, reason=reason, load=load)

    def _allocate(self, name: str, weights: bytes) -> int:
        """Write weights under the next free version number and return the number."""
        number = max(self._allocated_numbers(name), default=0)
        while True:
            number += 1
            try:
                self.store.create(f"models/{name}/{number}/weights.npz", weights)
            except FileExistsError:
                continue
            return number

    def _commit(self, manifest: Manifest, weights: bytes, files: Mapping[str, bytes]) -> Manifest:
        """Verify the stored weights, and write the manifest unless an earlier attempt has."""
        prefix = f"models/{manifest.name}/{manifest.version}"
        try:
            self.weights(manifest)
        except CorruptModel:
            if sha256(weights).hexdigest() != manifest.weights_sha256:
                raise
            self.store.put(f"{prefix}/weights.npz", weights)  # the same bytes that the manifest describes
        for file, content in files.items():
            if FILE.fullmatch(file):
                self.store.put(f"{prefix}/{file}", content)
        try:
            self.store.create(f"{prefix}/manifest.json", manifest.to_bytes())
        except FileExistsError:
            return self.manifest(manifest.name, manifest.version)
        return manifest

    def _published_by_job(self, name: str, job_id: str) -> Manifest | None:
        try:
            content = self.store.get(f"models/{name}/jobs/{job_id}.json")
            return Manifest.parse(name, int(read_object(content)["version"]), content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise CorruptModel("the record of what the job has published is damaged") from None
