"""Object store on a local directory or on S3, with atomic and create-only writes.

obstore links or renames a local object into place, so readers never see partial content, but it does not call fsync.
Without fsync a power failure could undo an acknowledged write, or leave an empty file under a create-only key. A local
object is therefore staged under a temporary name, synced, and then linked to its key.
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

from service.errors import InsufficientStorage, Unavailable, UnprocessableContent
from service.registry.damaged_objects import DamagedObjects

if TYPE_CHECKING:
    import builtins

    from obstore.store import ClientConfig, RetryConfig

STAGING = ".staging"
"""Prefix of the temporary objects of a local store."""
_NO_SPACE = os.strerror(errno.ENOSPC)
"""Matched in the message: obstore does not expose the errno of operating system errors."""
_CLIENT: "ClientConfig" = {"connect_timeout": "3s", "timeout": "10s", "allow_http": True}
"""Plain HTTP is only used if AWS_ENDPOINT_URL specifies it."""
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
"""obstore's defaults would block alias polling for minutes while S3 does not respond; the next poll retries anyway."""


class Store:
    """Objects by key. Raises Unavailable if the disk or network fails, InsufficientStorage if the disk is full."""

    def __init__(self, backend: Any, root: Path | None) -> None:
        """Use an obstore backend; `root` is its directory if it is local."""
        self._backend, self._root = backend, root
        self.damaged = DamagedObjects()

    def get(self, key: str) -> bytes:
        """Read an object. Raises FileNotFoundError."""
        with _translate_errors("read"):
            return bytes(obstore.get(self._backend, key).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write an object atomically, replacing an existing one."""
        with _translate_errors("written"):
            if self._root is None:
                obstore.put(self._backend, key, content, mode="overwrite", use_multipart=False)
            else:
                self._write_local(self._root, key, content, overwrite=True)

    def put_file(self, key: str, path: Path) -> None:
        """Store a local file that is never modified in place; hard-linked where possible."""
        if self._root is not None:
            with _translate_errors("written"), suppress(OSError):  # for example, it is on another file system
                self._write_local(self._root, key, path, overwrite=True)
                return
        self.put(key, path.read_bytes())

    def create(self, key: str, content: bytes) -> None:
        """Write an object unless it exists; one of several concurrent calls succeeds. Raises FileExistsError."""
        with _translate_errors("written"):
            if self._root is None:
                obstore.put(self._backend, key, content, mode="create", use_multipart=False)
            else:
                self._write_local(self._root, key, content, overwrite=False)

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it does not exist."""
        try:
            with _translate_errors("read"):
                return int(obstore.head(self._backend, key)["size"])
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        return self.size(key) is not None

    def has_prefix(self, prefix: str) -> bool:
        """Return whether any key starts with a prefix: a complete folder path and the beginning of a name in it."""
        folder, _, name = prefix.rpartition("/")
        with _translate_errors("listed"):
            if self._root is None:
                listed = obstore.list(self._backend, prefix=folder, offset=prefix, chunk_size=1)  # sorted on S3
                return any(entry["path"].startswith(prefix) for entry in next(iter(listed), ()))
            with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
                return any(entry.name.startswith(name) for entry in entries)
        return False

    def list(self, prefix: str) -> list[str]:
        """Return the keys under a prefix, sorted."""
        with _translate_errors("listed"):
            return sorted(entry["path"] for batch in obstore.list(self._backend, prefix=prefix) for entry in batch)

    def list_folders(self, prefix: str) -> "builtins.list[str]":
        """Return the names of the folders directly under a prefix, sorted; a local store includes empty ones.

        Unlike `list`, the cost does not depend on the number of objects in them.
        """
        with _translate_errors("listed"):
            found = obstore.list_with_delimiter(self._backend, prefix=prefix)["common_prefixes"]
            return sorted(path.rpartition("/")[2] for path in found)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the keys under a prefix with the sizes of their objects in bytes."""
        with _translate_errors("listed"):
            batches = obstore.list(self._backend, prefix=prefix)
            return {entry["path"]: entry["size"] for batch in batches for entry in batch}

    def etags(self, prefix: str) -> dict[str, str | None]:
        """Return the keys under a prefix with their entity tags, which change on every write."""
        with _translate_errors("listed"):
            batches = obstore.list(self._backend, prefix=prefix)
            return {entry["path"]: entry["e_tag"] for batch in batches for entry in batch}

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        self.damaged.discard(key)
        try:
            with _translate_errors("changed"):
                obstore.delete(self._backend, key)
        except FileNotFoundError:
            return

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders that deleted objects leave in a local store."""
        if self._root is not None:
            for path in [*sorted((self._root / prefix).rglob("*"), reverse=True), self._root / prefix]:
                with suppress(OSError):
                    path.rmdir()

    def _write_local(self, root: Path, key: str, content: bytes | Path, *, overwrite: bool) -> None:
        staged = f"{STAGING}/{secrets.token_hex(8)}"
        try:
            if isinstance(content, Path):
                (root / staged).parent.mkdir(exist_ok=True)
                (root / staged).hardlink_to(content)
            else:
                obstore.put(self._backend, staged, content, use_multipart=False)
            _sync(root / staged)
            obstore.copy(self._backend, staged, key, overwrite=overwrite)  # a hard link to the synced file
        finally:
            (root / staged).unlink(missing_ok=True)
        for parent in Path(key).parents:  # the directory entry, and directories that may be new
            _sync(root / parent)


def open_store(location: str) -> Store:
    """Open a store by directory or URL (`s3://bucket/prefix`, with credentials from the AWS environment variables).

    Raises UnprocessableContent for another URL, OSError if the directory cannot be created.
    """
    if "://" in location:
        try:
            return Store(from_url(location, client_options=_CLIENT, retry_config=_RETRIES), None)
        except (BaseError, ValueError) as error:
            raise UnprocessableContent("STORE_URL must be a folder or s3://bucket/prefix", field="store_url") from error
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
    """Map errors of obstore and the operating system to the errors that `Store` documents."""
    try:
        yield
    except FileNotFoundError:
        raise
    except AlreadyExistsError:
        raise FileExistsError from None
    except (BaseError, OSError) as error:
        if _NO_SPACE in str(error):
            raise InsufficientStorage("the disk is full; nothing was written") from error
        raise Unavailable(f"the store cannot be {what} now", retry_after_seconds=1) from error
