"""The models: immutable versions, and aliases that are append-only logs, all of it objects in the store.

    models/<name>/<version>/weights.npz      written first
    models/<name>/<version>/manifest.json    written last: a version without it does not exist
    models/<name>/jobs/<job id>.json         which version a job made: publishing twice is impossible
    models/<name>/aliases/<alias>/<generation>.json

Everything but the weights is written create-only, so that two replicas that promote at once cannot both win, and
the log is the history. No database is needed to serve.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from service.errors import Conflict, CorruptModel, InvalidInput, NotFound, PreconditionFailed
from service.store import Store
from training import MLP, WeightsError, load

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PROMOTE_TRIES = 20


@dataclass(frozen=True)
class Manifest:
    """What is known of a version."""

    name: str
    version: int
    details: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each class number stands for."""
        return tuple(self.details["labels"])

    @property
    def weights_sha256(self) -> str:
        """The hash that the weights must have."""
        return str(self.details["weights_sha256"])

    @property
    def job_id(self) -> str | None:
        """The job that made it, if any did."""
        return self.details.get("job_id")


@dataclass(frozen=True)
class AliasState:
    """One entry of an alias's log: since `since`, `alias` means `version`."""

    alias: str
    version: int
    generation: int
    since: str
    reason: str


@dataclass(frozen=True)
class LoadedModel:
    """A version whose weights passed every check."""

    manifest: Manifest
    network: MLP


class Registry:
    """Models, versions and aliases on a store."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self._store = store

    def models(self) -> list[str]:
        """List the names of models with at least one version."""
        keys = (key.split("/") for key in self._store.list("models"))
        return sorted({parts[1] for parts in keys if len(parts) == 4 and parts[3] == "manifest.json"})

    def versions(self, name: str) -> list[Manifest]:
        """List a model's versions, oldest first. Raises NotFound for an unknown model."""
        numbers = self._numbers(name, "manifest.json")
        if not numbers:
            raise NotFound("there is no model of that name")
        return [self.manifest(name, number) for number in numbers]

    def manifest(self, name: str, version: int) -> Manifest:
        """Read a version's manifest. Raises NotFound, or CorruptModel when it cannot be read."""
        _checked(name)
        try:
            details = json.loads(self._store.get(f"models/{name}/{version}/manifest.json"))
        except FileNotFoundError:
            raise NotFound(f"model {name} has no version {version}") from None
        except ValueError:
            raise CorruptModel(f"the manifest of {name} version {version} is damaged") from None
        if not isinstance(details, dict) or not {"labels", "weights_sha256"} <= set(details):
            raise CorruptModel(f"the manifest of {name} version {version} is incomplete")
        return Manifest(name, version, details)

    def weights(self, manifest: Manifest) -> bytes:
        """Read a version's weights and check their hash. Raises CorruptModel."""
        try:
            content = self._store.get(f"models/{manifest.name}/{manifest.version}/weights.npz")
        except FileNotFoundError:
            content = b""
        if sha256(content).hexdigest() != manifest.weights_sha256:
            raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are missing or damaged")
        return content

    def load(self, name: str, version: int) -> LoadedModel:
        """Load a version, verified. Raises NotFound or CorruptModel."""
        manifest = self.manifest(name, version)
        return LoadedModel(manifest, _network(self.weights(manifest), manifest))

    def publish(self, name: str, weights: bytes, details: dict[str, Any], *, job_id: str | None = None) -> Manifest:
        """Add a version: checked first, read back, its manifest written last.

        A job that publishes again gets the version that it made the first time. Raises CorruptModel when the
        weights do not pass their checks.
        """
        _checked(name)
        if job_id and (number := self._made_by(name, job_id)):
            return self._finish(name, number, weights, details, job_id)
        _network(weights, Manifest(name, 0, details))
        number = self._reserve(name, weights)
        if job_id:
            try:
                self._store.create(f"models/{name}/jobs/{job_id}.json", json.dumps({"version": number}).encode())
            except FileExistsError:  # the same job, published by another worker in this moment
                self._store.delete(f"models/{name}/{number}/weights.npz")
                number = self._made_by(name, job_id) or number
        return self._finish(name, number, weights, details, job_id)

    def _reserve(self, name: str, weights: bytes) -> int:
        number = max([0, *self._numbers(name, "weights.npz"), *self._numbers(name, "manifest.json")])
        while True:
            number += 1
            try:
                self._store.create(f"models/{name}/{number}/weights.npz", weights)
            except FileExistsError:
                continue
            return number

    def _finish(self, name: str, number: int, weights: bytes, details: dict[str, Any], job_id: str | None) -> Manifest:
        """Write the manifest, unless an earlier try did."""
        key = f"models/{name}/{number}"
        try:
            return self.manifest(name, number)
        except NotFound:
            complete = details | {"name": name, "version": number, "job_id": job_id}
        if self._store.get(f"{key}/weights.npz") != weights:
            self._store.put(f"{key}/weights.npz", weights)  # no manifest yet: nobody has read what was there
        try:
            self._store.create(f"{key}/manifest.json", (json.dumps(complete, indent=2) + "\n").encode())
        except FileExistsError:
            return self.manifest(name, number)
        return Manifest(name, number, complete)

    def alias(self, name: str, alias: str) -> AliasState:
        """Say what an alias means now. Raises NotFound."""
        history = self.history(name, alias, most=1)
        if not history:
            raise NotFound(f"model {name} has no alias of that name")
        return history[0]

    def history(self, name: str, alias: str, most: int | None = None) -> list[AliasState]:
        """List what an alias has meant, newest first."""
        keys = self._store.list(f"models/{_checked(name)}/aliases/{_checked(alias)}")
        generations = sorted((int(Path(key).stem) for key in keys if Path(key).stem.isdigit()), reverse=True)
        states = []
        for generation in generations[:most]:
            entry = json.loads(self._store.get(_alias_key(name, alias, generation)))
            states.append(AliasState(alias, entry["version"], generation, entry["since"], entry["reason"]))
        return states

    def aliases(self, name: str) -> list[AliasState]:
        """List all aliases of a model."""
        keys = self._store.list(f"models/{_checked(name)}/aliases")
        return [self.alias(name, alias) for alias in sorted({key.split("/")[3] for key in keys})]

    def promote(
        self, name: str, alias: str, version: int, *, expected_generation: int | None = None, reason: str = "by hand"
    ) -> AliasState:
        """Let an alias mean a version, after loading that version once.

        With `expected_generation` (0: the alias must be new) it happens only if nobody else was faster; raises
        PreconditionFailed otherwise, NotFound for an unknown version, CorruptModel for a damaged one.
        """
        _checked(alias)
        self.load(name, version)
        since = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = json.dumps({"version": version, "since": since, "reason": reason}).encode()
        for _ in range(_PROMOTE_TRIES):
            history = self.history(name, alias, most=1)
            generation = history[0].generation if history else 0
            if expected_generation is not None and generation != expected_generation:
                raise PreconditionFailed(f"the alias is at generation {generation}, not {expected_generation}")
            try:
                self._store.create(_alias_key(name, alias, generation + 1), entry)
            except FileExistsError:
                continue
            return AliasState(alias, version, generation + 1, since, reason)
        raise Conflict("others keep promoting this alias; try again")

    def readable_versions(self, name: str) -> list[Manifest]:
        """List the versions whose manifests can be read; none for an unknown model."""
        readable = []
        for number in self._numbers(name, "manifest.json"):
            try:
                readable.append(self.manifest(name, number))
            except CorruptModel:
                continue
        return readable

    def _made_by(self, name: str, job_id: str) -> int | None:
        try:
            return int(json.loads(self._store.get(f"models/{name}/jobs/{job_id}.json"))["version"])
        except FileNotFoundError:
            return None

    def _numbers(self, name: str, member: str) -> list[int]:
        """List the numbers of versions that have a member."""
        keys = (key.split("/") for key in self._store.list(f"models/{_checked(name)}"))
        return sorted(int(p[2]) for p in keys if len(p) == 4 and p[3] == member and p[2].isdigit())


def _alias_key(name: str, alias: str, generation: int) -> str:
    return f"models/{name}/aliases/{alias}/{generation:08d}.json"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidInput("names are lower-case letters, digits, - and _, at most 63", field="name")
    return name


def _network(weights: bytes, manifest: Manifest) -> MLP:
    """Load weights and hold them against their manifest. Raises CorruptModel."""
    if sha256(weights).hexdigest() != manifest.weights_sha256:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are damaged")
    try:
        network = load(weights)
    except WeightsError as error:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are unusable: {error}") from None
    outputs = network.config.layers[-1]
    if len(manifest.labels) != outputs and (len(manifest.labels), outputs) != (2, 1):
        raise CorruptModel(f"{manifest.name} version {manifest.version} has {outputs} outputs for other labels")
    return network
