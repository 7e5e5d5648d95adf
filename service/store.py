"""Objects by key, on a local directory or on S3: written whole, and when it matters only once.

obstore writes a local object under a temporary name and links it into place, so a reader never sees half of one;
what it leaves out is fsync, without which a power cut could undo an acknowledged write.
"""

import os
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, from_url


class Store:
    """A place for objects."""

    def __init__(self, backend: Any, root: Path | None) -> None:
        """Keep the backend, and its folder when it is a local one."""
        self._backend, self._root = backend, root

    def get(self, key: str) -> bytes:
        """Read an object. Raises FileNotFoundError."""
        return bytes(obstore.get(self._backend, key).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write an object in one step, over an older one if there is one."""
        obstore.put(self._backend, key, content, mode="overwrite", use_multipart=False)
        self._sync(key)

    def create(self, key: str, content: bytes) -> None:
        """Write an object that must not exist yet; of two who try at once one wins. Raises FileExistsError."""
        try:
            obstore.put(self._backend, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            raise FileExistsError(key) from None
        self._sync(key)

    def list(self, prefix: str) -> list[str]:
        """List the keys below a folder, in order."""
        return sorted(entry["path"] for batch in obstore.list(self._backend, prefix=prefix) for entry in batch)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        try:
            obstore.delete(self._backend, key)
        except FileNotFoundError:
            return

    def _sync(self, key: str) -> None:
        if self._root is None:
            return
        path = self._root / key
        for place in (path, *path.relative_to(self._root).parents):
            descriptor = os.open(self._root / place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def open_store(location: str) -> Store:
    """Open a store by folder or by URL (`s3://bucket/prefix`; credentials as the AWS variables give them)."""
    if "://" in location:
        return Store(from_url(location), None)
    root = Path(location).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Store(LocalStore(root), root)
