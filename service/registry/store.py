"""Objects by key, on a local directory or on S3: written whole, and when it matters only once.

obstore links or renames a local object into place, so a reader never sees half of one; what it leaves out is fsync.
Without it a power cut could undo an acknowledged write, or leave an empty file under a name that can be taken only
once. So a local object is staged under another name, synced, and only then linked to its own.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from service.errors import InvalidInput, NoDiskSpace, Unavailable
from service.registry.damaged_objects import DamagedObjects

if TYPE_CHECKING:
    import builtins

    from obstore.store import ClientConfig, RetryConfig

STAGING = ".staging"
"""The folder of objects that are being written to a local store."""
_NO_SPACE = os.strerror(errno.ENOSPC)
"""Found in the text: obstore tells the operating system's errors in words alone."""
_CLIENT: "ClientConfig" = {"connect_timeout": "3s", "timeout": "10s", "allow_http": True}
"""Plain HTTP is used where AWS_ENDPOINT_URL names it, and nowhere else."""
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
"""obstore's own would hold a poll of the alias for minutes when S3 is silent; the next poll tries again anyway."""


class Store:
    """A place for objects. Raises Unavailable when the disk or the network fails, NoDiskSpace when it is full."""

    def __init__(self, backend: Any, root: Path | None) -> None:
        """Keep the backend, and its folder when it is a local one."""
        self._backend, self._root = backend, root
        self.damaged = DamagedObjects()

    def get(self, key: str) -> bytes:
        """Read an object. Raises FileNotFoundError."""
        with _translate_errors("read"):
            return bytes(obstore.get(self._backend, key).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write an object in one step, over an older one if there is one."""
        with _translate_errors("written"):
            if self._root is None:
                obstore.put(self._backend, key, content, mode="overwrite", use_multipart=False)
            else:
                self._link(self._root, key, content, overwrite=True)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object that is a file of this host, which nobody changes in place; by a link where that can be."""
        if self._root is not None:
            with _translate_errors("written"), suppress(OSError):  # it lies on another disk, say
                self._link(self._root, key, path, overwrite=True)
                return
        self.put(key, path.read_bytes())

    def create(self, key: str, content: bytes) -> None:
        """Write an object that must not exist yet; of two who try at once one wins. Raises FileExistsError."""
        with _translate_errors("written"):
            if self._root is None:
                obstore.put(self._backend, key, content, mode="create", use_multipart=False)
            else:
                self._link(self._root, key, content, overwrite=False)

    def size(self, key: str) -> int | None:
        """Give the bytes of an object; None when there is none."""
        try:
            with _translate_errors("read"):
                return int(obstore.head(self._backend, key)["size"])
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        return self.size(key) is not None

    def has_prefix(self, beginning: str) -> bool:
        """Tell whether a key begins so: the whole name of a folder, and the first part of a name in it."""
        folder, _, name = beginning.rpartition("/")
        with _translate_errors("listed"):
            if self._root is None:
                listed = obstore.list(self._backend, prefix=folder, offset=beginning, chunk_size=1)  # in order on S3
                return any(entry["path"].startswith(beginning) for entry in next(iter(listed), ()))
            with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
                return any(entry.name.startswith(name) for entry in entries)
        return False

    def list(self, prefix: str) -> list[str]:
        """List the keys below a folder, in order."""
        with _translate_errors("listed"):
            return sorted(entry["path"] for batch in obstore.list(self._backend, prefix=prefix) for entry in batch)

    def list_folders(self, prefix: str) -> "builtins.list[str]":
        """List the names of the folders directly below a folder, in order; on a disk, empty ones too.

        Unlike `list`, this costs the same however much is in them.
        """
        with _translate_errors("listed"):
            found = obstore.list_with_delimiter(self._backend, prefix=prefix)["common_prefixes"]
            return sorted(path.rpartition("/")[2] for path in found)

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the objects below a folder with their sizes in bytes."""
        with _translate_errors("listed"):
            batches = obstore.list(self._backend, prefix=prefix)
            return {entry["path"]: entry["size"] for batch in batches for entry in batch}

    def etags(self, prefix: str) -> dict[str, str | None]:
        """List the objects below a folder with their entity tags, which differ when an object was written again."""
        with _translate_errors("listed"):
            batches = obstore.list(self._backend, prefix=prefix)
            return {entry["path"]: entry["e_tag"] for batch in batches for entry in batch}

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        self.damaged.discard(key)
        try:
            with _translate_errors("changed"):
                obstore.delete(self._backend, key)
        except FileNotFoundError:
            return

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders that deleted objects leave on a disk; one with an object in it stays."""
        if self._root is not None:
            for path in [*sorted((self._root / prefix).rglob("*"), reverse=True), self._root / prefix]:
                with suppress(OSError):
                    path.rmdir()

    def _link(self, root: Path, key: str, content: bytes | Path, *, overwrite: bool) -> None:
        staged = f"{STAGING}/{secrets.token_hex(8)}"
        try:
            if isinstance(content, Path):
                (root / staged).parent.mkdir(exist_ok=True)
                (root / staged).hardlink_to(content)
            else:
                obstore.put(self._backend, staged, content, use_multipart=False)
            _sync(root / staged)
            obstore.copy(self._backend, staged, key, overwrite=overwrite)  # a hard link: the synced bytes themselves
        finally:
            (root / staged).unlink(missing_ok=True)
        for parent in Path(key).parents:  # the name, and the folders that may be new with it
            _sync(root / parent)


def open_store(location: str) -> Store:
    """Open a store by folder or by URL (`s3://bucket/prefix`; credentials as the AWS variables give them).

    Raises InvalidInput for another URL, OSError for a folder that cannot be made.
    """
    if "://" in location:
        try:
            return Store(from_url(location, client_options=_CLIENT, retry_config=_RETRIES), None)
        except (BaseError, ValueError) as error:
            raise InvalidInput("STORE_URL must be a folder or s3://bucket/prefix", field="store_url") from error
    root = Path(location).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Store(LocalStore(root), root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Tell failures of the disk or the network from the answers that a caller expects."""
    try:
        yield
    except FileNotFoundError:
        raise
    except AlreadyExistsError:
        raise FileExistsError from None
    except (BaseError, OSError) as error:
        if _NO_SPACE in str(error):
            raise NoDiskSpace("the disk is full; nothing was written") from error
        raise Unavailable(f"the store cannot be {what} now", retry_after_seconds=1) from error
