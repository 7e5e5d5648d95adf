"""The versions of models as they lie in a store: listed a page at a time, and read.

A listing asks the store for the folders below one, which costs the same however many objects are in them, and reads
only as many manifests as it gives.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice

from service.errors import CorruptModel, NotFound
from service.registry.aliases import NAME, validate_name
from service.registry.manifest import Manifest, VerifiedModel, is_version, load_verified
from service.registry.store import Store

FILE = re.compile(r"card\.md|[a-z0-9][a-z0-9_-]{0,62}\.(svg|png)")
"""Names of what a version may have beside its weights and manifest."""
MOST_MODELS = 1000
"""Models that are listed where a protocol has no pages: the first by name."""
MOST_VERSIONS = 100
"""Versions of a model that are listed where a protocol has no pages: the newest."""


class Versions:
    """Models and their versions on a store, to be read."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self.store = store

    def models(self, most: int | None = MOST_MODELS, after: str = "") -> list[str]:
        """List the names of models with at least one version, in order: at most `most`, of those after `after`."""
        names = (name for name in self.store.list_folders("models") if name > after and NAME.fullmatch(name))
        return list(islice((name for name in names if self._has_versions(name)), most))

    def version_numbers(self, name: str, most: int = MOST_VERSIONS) -> list[int]:
        """List the numbers of a model's newest versions, oldest first, damaged ones too.

        Raises NotFound for an unknown model.
        """
        if not (numbers := list(islice(self._existing(name), most))):
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return numbers[::-1]

    def newest(self, name: str, most: int | None = None, before: int | None = None) -> list[Manifest]:
        """List a model's versions, newest first, without damaged manifests.

        At most `most` manifests are given, of versions before `before`. Raises NotFound for an unknown model.
        """
        manifests = list(islice(self._readable(name, before), most))
        if not manifests and not self._has_versions(name):
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return manifests

    def manifests(self, name: str) -> list[Manifest]:
        """List all of a model's versions, oldest first, without damaged manifests.

        Raises NotFound for an unknown model.
        """
        return self.newest(name)[::-1]

    def readable_manifests(self, name: str) -> list[Manifest]:
        """List all of a model's versions, oldest first, whose manifests can be read; none for an unknown model."""
        return list(self._readable(name))[::-1]

    def manifest(self, name: str, version: int) -> Manifest:
        """Read a version's manifest. Raises NotFound, or CorruptModel when it cannot be read."""
        key = self._manifest_key(name, version)
        try:
            content = self.store.get(key)
        except FileNotFoundError:
            self.store.damaged.discard(key)
            raise NotFound(f"model {name} has no version {version}") from None
        with self.store.damaged.track(key, CorruptModel):
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

    def load(self, name: str, version: int) -> VerifiedModel:
        """Load a version, verified. Raises NotFound or CorruptModel."""
        manifest = self.manifest(name, version)
        return VerifiedModel(manifest, load_verified(self.weights(manifest), manifest))

    def weights_bytes(self, name: str, version: int) -> int | None:
        """Give the bytes that the weights of a version take; None when they are missing."""
        return self.store.size(f"{self.version_prefix(name, version)}/weights.npz")

    def files(self, name: str, version: int) -> list[str]:
        """List what a version has beside its weights and manifest: a card, pictures."""
        keys = (key.rpartition("/")[2] for key in self.store.list(self.version_prefix(name, version)))
        return [key for key in keys if FILE.fullmatch(key)]

    def file(self, name: str, version: int, file: str) -> bytes:
        """Read one of a version's files. Raises NotFound."""
        self.manifest(name, version)
        try:
            if FILE.fullmatch(file):
                return self.store.get(f"{self.version_prefix(name, version)}/{file}")
        except FileNotFoundError:
            pass
        raise NotFound(f"version {version} of {name} has no file of that name")

    def interrupted_deletions(self, name: str) -> list[int]:
        """List the numbers of versions whose deletion was cut off after they had ceased to exist."""
        keys = [key.split("/") for key in self.store.list(f"models/{validate_name(name)}")]
        begun = {int(parts[2]) for parts in keys if len(parts) == 5 and parts[3] == "deleting" and is_version(parts[2])}
        return sorted(number for number in begun if not self.store.exists(self._manifest_key(name, number)))

    def version_prefix(self, name: str, version: int) -> str:
        """Give the key under which all objects of a version are."""
        return f"models/{validate_name(name)}/{version}"

    def _manifest_key(self, name: str, version: int) -> str:
        return f"{self.version_prefix(name, version)}/manifest.json"

    def _numbers(self, name: str) -> list[int]:
        """List the numbers that are taken, newest first, also by what is no version yet, or no longer."""
        return sorted(
            map(int, filter(is_version, self.store.list_folders(f"models/{validate_name(name)}"))), reverse=True
        )

    def _existing(self, name: str) -> Iterator[int]:
        return (number for number in self._numbers(name) if self.store.exists(self._manifest_key(name, number)))

    def _has_versions(self, name: str) -> bool:
        return next(self._existing(name), None) is not None

    def _readable(self, name: str, before: int | None = None) -> Iterator[Manifest]:
        for number in self._numbers(name):
            if before is None or number < before:
                try:
                    yield self.manifest(name, number)
                except (CorruptModel, NotFound):  # damaged, not published yet, or deleted
                    continue
