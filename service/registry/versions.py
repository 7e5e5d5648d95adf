"""Read access to the models and versions in a store.

Listing names and numbers costs one list request however many objects there are, and a page reads only the manifests
that it returns.
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
"""Names of the files that a version may have besides its weights and manifest."""
MAX_LISTED_MODELS = 1000
"""Models listed by protocols without pages: the first ones by name."""
MAX_LISTED_VERSIONS = 100
"""Versions of a model listed by protocols without pages: the newest ones."""


class Versions:
    """The models and versions in a store, read-only."""

    def __init__(self, store: Store) -> None:
        """Use a store."""
        self.store = store

    def models(self, limit: int | None = MAX_LISTED_MODELS, after: str = "") -> list[str]:
        """Return up to `limit` names of models that have versions, sorted, starting after the name `after`."""
        names = (name for name in self.store.list_folders("models") if name > after and NAME.fullmatch(name))
        return list(islice((name for name in names if self._has_versions(name)), limit))

    def version_numbers(self, name: str, limit: int = MAX_LISTED_VERSIONS) -> list[int]:
        """Return the numbers of a model's newest versions, oldest first, damaged ones included.

        Raises NotFound for an unknown model.
        """
        if not (numbers := list(islice(self._existing_numbers(name), limit))):
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return numbers[::-1]

    def newest(self, name: str, limit: int | None = None, before: int | None = None) -> list[Manifest]:
        """Return up to `limit` manifests of versions older than `before`, newest first, without damaged ones.

        Raises NotFound for an unknown model.
        """
        manifests = list(islice(self._readable(name, before), limit))
        if not manifests and not self._has_versions(name):
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return manifests

    def manifests(self, name: str) -> list[Manifest]:
        """Return all manifests of a model, oldest first, without damaged ones. Raises NotFound for an unknown model."""
        return self.newest(name)[::-1]

    def readable_manifests(self, name: str) -> list[Manifest]:
        """Return all readable manifests of a model, oldest first; none for an unknown model."""
        return list(self._readable(name))[::-1]

    def manifest(self, name: str, version: int) -> Manifest:
        """Read a version's manifest. Raises NotFound, or CorruptModel if it is unreadable."""
        key = self._manifest_key(name, version)
        try:
            content = self.store.get(key)
        except FileNotFoundError:
            self.store.damaged.discard(key)
            raise NotFound(f"model {name} has no version {version}") from None
        with self.store.damaged.track(key, CorruptModel):
            return Manifest.parse(name, version, content)

    def weights(self, manifest: Manifest) -> bytes:
        """Read a version's weights and verify their hash. Raises CorruptModel."""
        try:
            content = self.store.get(f"models/{manifest.name}/{manifest.version}/weights.npz")
        except FileNotFoundError:
            content = b""
        if sha256(content).hexdigest() != manifest.weights_sha256:
            raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are missing or damaged")
        return content

    def load(self, name: str, version: int) -> VerifiedModel:
        """Load and verify a version. Raises NotFound or CorruptModel."""
        manifest = self.manifest(name, version)
        return VerifiedModel(manifest, load_verified(self.weights(manifest), manifest))

    def weights_bytes(self, name: str, version: int) -> int | None:
        """Return the size of a version's weights in bytes; None if they are missing."""
        return self.store.size(f"{self.version_prefix(name, version)}/weights.npz")

    def files(self, name: str, version: int) -> list[str]:
        """Return the names of a version's card and images."""
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
        """Return the numbers of versions whose manifest was deleted but not all their other objects."""
        keys = [key.split("/") for key in self.store.list(f"models/{validate_name(name)}")]
        started = {int(key[2]) for key in keys if len(key) == 5 and key[3] == "deleting" and is_version(key[2])}
        return sorted(number for number in started if not self.store.exists(self._manifest_key(name, number)))

    def version_prefix(self, name: str, version: int) -> str:
        """Return the prefix of the keys of a version's objects."""
        return f"models/{validate_name(name)}/{version}"

    def _manifest_key(self, name: str, version: int) -> str:
        return f"{self.version_prefix(name, version)}/manifest.json"

    def _allocated_numbers(self, name: str) -> list[int]:
        """Return all used version numbers, newest first, including those of unpublished and deleted versions."""
        folders = self.store.list_folders(f"models/{validate_name(name)}")
        return sorted(map(int, filter(is_version, folders)), reverse=True)

    def _existing_numbers(self, name: str) -> Iterator[int]:
        return (n for n in self._allocated_numbers(name) if self.store.exists(self._manifest_key(name, n)))

    def _has_versions(self, name: str) -> bool:
        return next(self._existing_numbers(name), None) is not None

    def _readable(self, name: str, before: int | None = None) -> Iterator[Manifest]:
        for number in self._allocated_numbers(name):
            if before is None or number < before:
                try:
                    yield self.manifest(name, number)
                except (CorruptModel, NotFound):  # damaged, not yet published, or deleted
                    continue
