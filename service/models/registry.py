"""The models: immutable versions, and aliases that are append-only logs, all of it objects in the store.

    models/<name>/<version>/weights.npz      written first
    models/<name>/<version>/card.md, *.svg   what somebody wrote or drew about it, if anybody did
    models/<name>/<version>/manifest.json    written last: a version without it does not exist
    models/<name>/jobs/<job id>.json         the manifest of what a job made, decided once: it cannot publish twice
    models/<name>/aliases/<alias>/<generation>.json    as `aliases` tells

Whoever promotes a version holds a claim on it meanwhile, so that it is not deleted just then (`claims`, `collection`).

Everything but the weights is written create-only, so that two replicas that promote at once cannot both win.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import sha256
from typing import Any

from service.errors import Conflict, CorruptModel, InvalidInput, NotFound
from service.json_objects import read_object
from service.models.aliases import NAME, AliasLogs, AliasState, Candidate, checked
from service.models.claims import claim, is_claimed
from service.models.manifest import LoadedModel, Manifest, is_version, open_network
from service.models.store import Store

FILE = re.compile(r"card\.md|[a-z0-9][a-z0-9_-]{0,62}\.(svg|png)")
"""Names of what a version may have beside its weights and manifest."""


class Registry:
    """Models, versions and aliases on a store."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self.store, self._aliases = store, AliasLogs(store)

    def models(self) -> list[str]:
        """List the names of models with at least one version."""
        keys = (key.split("/") for key in self.store.list("models"))
        found = {parts[1] for parts in keys if len(parts) == 4 and parts[3] == "manifest.json" and is_version(parts[2])}
        return sorted(name for name in found if NAME.fullmatch(name))

    def numbers(self, name: str) -> list[int]:
        """List the numbers of a model's versions, damaged ones too. Raises NotFound for an unknown model."""
        if not (numbers := self._numbers(name, "manifest.json")):
            raise NotFound("there is no model of that name")
        return numbers

    def versions(self, name: str) -> list[Manifest]:
        """List a model's versions, oldest first, without damaged manifests. Raises NotFound for an unknown model."""
        self.numbers(name)
        return self.readable_versions(name)

    def manifest(self, name: str, version: int) -> Manifest:
        """Read a version's manifest. Raises NotFound, or CorruptModel when it cannot be read."""
        key = f"{self.folder(name, version)}/manifest.json"
        try:
            content = self.store.get(key)
        except FileNotFoundError:
            self.store.damaged.clear(key)
            raise NotFound(f"model {name} has no version {version}") from None
        with self.store.damaged.noting(key, CorruptModel):
            return Manifest.read(name, version, content)

    def weights(self, manifest: Manifest) -> bytes:
        """Read a version's weights and check their hash. Raises CorruptModel."""
        try:
            content = self.store.get(f"models/{manifest.name}/{manifest.version}/weights.npz")
        except FileNotFoundError:
            content = b""
        if sha256(content).hexdigest() != manifest.weights_sha256:
            raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are missing or damaged")
        return content

    def load(self, name: str, version: int) -> LoadedModel:
        """Load a version, verified. Raises NotFound or CorruptModel."""
        manifest = self.manifest(name, version)
        return LoadedModel(manifest, open_network(self.weights(manifest), manifest))

    def sizes(self, name: str) -> dict[int, int]:
        """Give the bytes that the weights of each version take."""
        found = self.store.sizes(f"models/{checked(name)}").items()
        parts = [(key.split("/"), size) for key, size in found if key.endswith("/weights.npz")]
        return {int(key[2]): size for key, size in parts if len(key) == 4 and is_version(key[2])}

    def files(self, name: str, version: int) -> list[str]:
        """List what a version has beside its weights and manifest: a card, pictures."""
        keys = (key.rpartition("/")[2] for key in self.store.list(self.folder(name, version)))
        return [key for key in keys if FILE.fullmatch(key)]

    def file(self, name: str, version: int, file: str) -> bytes:
        """Read one of a version's files. Raises NotFound."""
        self.manifest(name, version)
        try:
            if FILE.fullmatch(file):
                return self.store.get(f"{self.folder(name, version)}/{file}")
        except FileNotFoundError:
            pass
        raise NotFound(f"version {version} of {name} has no file of that name")

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
        checked(name)
        if job_id and (decided := self._decided(name, job_id)):
            return self._finish(decided, weights, files or {})
        open_network(weights, Manifest(name, 0, details))
        number = self._reserve(name, weights)
        manifest = Manifest(name, number, details | {"name": name, "version": number, "job_id": job_id})
        if job_id:
            try:
                self.store.create(f"models/{name}/jobs/{job_id}.json", manifest.to_bytes())
            except FileExistsError:  # the same job, published by another worker in this moment
                self.store.delete(f"models/{name}/{number}/weights.npz")
                manifest = self._decided(name, job_id) or manifest
        return self._finish(manifest, weights, files or {})

    def _reserve(self, name: str, weights: bytes) -> int:
        number = max([0, *self._numbers(name, "weights.npz"), *self._numbers(name, "manifest.json")])
        while True:
            number += 1
            try:
                self.store.create(f"models/{name}/{number}/weights.npz", weights)
            except FileExistsError:
                continue
            return number

    def _finish(self, manifest: Manifest, weights: bytes, files: Mapping[str, bytes]) -> Manifest:
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

    def alias(self, name: str, alias: str) -> AliasState:
        """Say what an alias means now. Raises NotFound, or CorruptModel when its last entry cannot be read."""
        return self._aliases.now(name, alias)

    def generation(self, name: str, alias: str) -> int:
        """Count the promotions of an alias, also when its last entry cannot be read; 0 when it means nothing yet."""
        return self._aliases.expect(name, alias, None)

    def history(self, name: str, alias: str, most: int | None = None) -> list[AliasState]:
        """List what an alias has meant, newest first, without damaged entries."""
        return self._aliases.history(name, alias, most)

    def alias_names(self, name: str) -> list[str]:
        """List the names of a model's aliases."""
        return self._aliases.names(name)

    def aliases(self, name: str) -> list[AliasState]:
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
    ) -> AliasState:
        """Let an alias mean a version, after loading that version once; a candidate goes on trial beside it.

        With `expected_generation` (0: the alias must be new) it happens only if nobody else was faster; raises
        PreconditionFailed otherwise, NotFound for an unknown version, CorruptModel for a damaged one, Conflict for one
        that is being deleted.
        """
        self._aliases.expect(name, alias, expected_generation)
        if candidate and candidate.version == version:
            raise InvalidInput("the candidate is the version itself", field="candidate")
        with ExitStack() as claims:
            for wanted in [version] + ([candidate.version] if candidate else []):
                self.manifest(name, wanted)
                claims.enter_context(claim(self.store, self.folder(name, wanted), "promoting"))
                if is_claimed(self.store, self.folder(name, wanted), "deleting"):
                    raise Conflict(f"version {wanted} is being deleted")
                self.load(name, wanted)
            return self._aliases.append(name, alias, version, candidate, expected_generation, reason)

    def roll_back(
        self, name: str, alias: str, *, expected_generation: int | None = None, reason: str = "rolled back"
    ) -> AliasState:
        """Let an alias mean again what it meant before the present version; raises Conflict when that is nothing.

        A trial ends with it. Of two who do this at once one fails, so that it cannot go back and forth.
        """
        generation = self._aliases.expect(name, alias, expected_generation)
        history = self.history(name, alias)
        # A last entry that cannot be read never served: before it is the newest that can be.
        present = history[0].version if history and history[0].generation == generation else None
        before = next((state.version for state in history if state.version != present), None)
        if before is None:
            raise Conflict("there is no earlier version to go back to")
        return self.promote(name, alias, before, expected_generation=generation, reason=reason)

    def readable_versions(self, name: str) -> list[Manifest]:
        """List the versions whose manifests can be read; none for an unknown model."""
        readable = []
        for number in self._numbers(name, "manifest.json"):
            try:
                readable.append(self.manifest(name, number))
            except (CorruptModel, NotFound):  # damaged, or deleted since it was listed
                continue
        return readable

    def remains(self, name: str) -> list[int]:
        """List the numbers of versions whose deletion was cut off after they had ceased to exist."""
        keys = [key.split("/") for key in self.store.list(f"models/{checked(name)}")]
        begun = {int(parts[2]) for parts in keys if len(parts) == 5 and parts[3] == "deleting" and is_version(parts[2])}
        return sorted(begun - set(self._numbers(name, "manifest.json")))

    def folder(self, name: str, version: int) -> str:
        """Give the key under which all objects of a version are."""
        return f"models/{checked(name)}/{version}"

    def _decided(self, name: str, job_id: str) -> Manifest | None:
        try:
            content = self.store.get(f"models/{name}/jobs/{job_id}.json")
            return Manifest.read(name, int(read_object(content)["version"]), content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise CorruptModel("what the job has published before is damaged") from None

    def _numbers(self, name: str, member: str) -> list[int]:
        """List the numbers of versions that have a member."""
        keys = (key.split("/") for key in self.store.list(f"models/{checked(name)}"))
        return sorted(int(p[2]) for p in keys if len(p) == 4 and p[3] == member and is_version(p[2]))
