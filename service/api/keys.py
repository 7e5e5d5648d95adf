"""API keys: `gs_<id>_<secret>`. The store holds the id and a hash of the secret, never the key.

    keys/<id>.json        one object for each key: all replicas see it, and deleting it revokes the key
    keys-required.json    a key was created once: if all keys are gone, every request is rejected

A secret is 32 random bytes and cannot be guessed, so a plain SHA-256 is enough. It costs one microsecond per request.
"""

import json
import logging
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256

from service.errors import NotFound, Unavailable, UnprocessableContent
from service.json_objects import read_object
from service.registry.store import Store
from training.stored import restored

log = logging.getLogger(__name__)

SCOPES = ("predict", "train", "admin")
"""What a key allows; `admin` allows everything."""

_REQUIRED = "keys-required.json"
_FORMAT = re.compile(r"gs_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_MAX_NAME_LENGTH = 80


@dataclass(frozen=True)
class Key:
    """The stored part of a key."""

    id: str
    sha256: str
    """Hash of the secret."""
    scopes: tuple[str, ...]
    name: str
    """Free text: who uses the key, and for what."""
    created: str


class Keys:
    """The keys in a store."""

    def __init__(self, store: Store) -> None:
        """Read and write keys in `store`."""
        self._store = store

    def create(self, scopes: tuple[str, ...], name: str = "") -> tuple[Key, str]:
        """Create a key. Return it with its text, which cannot be read again. Raises UnprocessableContent."""
        if not scopes or not set(scopes) <= set(SCOPES):
            raise UnprocessableContent(f"a key needs at least one of the scopes {', '.join(SCOPES)}", field="scope")
        if len(name) > _MAX_NAME_LENGTH or not name.isprintable():
            raise UnprocessableContent(
                f"the name of a key has at most {_MAX_NAME_LENGTH} printable characters", field="name"
            )
        key_id = "".join(secrets.choice(_LETTERS) for _ in range(8))
        secret = secrets.token_urlsafe(32)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(key_id, sha256(secret.encode()).hexdigest(), tuple(sorted(set(scopes))), name, since)
        self._require()
        self._store.create(_path(key_id), json.dumps(asdict(key)).encode())
        return key, f"gs_{key_id}_{secret}"

    def list(self) -> list[Key]:
        """List all keys, oldest first, without those whose object is damaged."""
        keys, paths = [], self._store.list("keys")
        known_damaged = self._store.damaged.keys()
        for deleted in {path for path in known_damaged if path.startswith("keys/")} - {*paths}:
            self._store.damaged.discard(deleted)
        for path in paths:
            try:
                with self._store.damaged.track(path, ValueError):
                    keys.append(_parse(self._store.get(path)))
            except (FileNotFoundError, ValueError):
                continue
        return sorted(keys, key=lambda key: key.created)

    def state(self) -> frozenset[tuple[str, str | None]]:
        """Return a value that changes when a key is added, changed or revoked. Cheaper than `list`."""
        return frozenset(self._store.etags("keys").items())

    def are_required(self) -> bool:
        """Return whether requests need a key: a key exists, or existed before."""
        if self._store.exists(_REQUIRED):
            return True
        if not self._store.list("keys"):
            return False
        try:  # keys of an earlier release, which did not write the marker
            self._require()
        except Unavailable as error:
            log.warning("the marker that keys are required cannot be written: %s", error.detail)
        return True

    def revoke(self, key_id: str) -> None:
        """Delete a key. Raises NotFound."""
        if not self._store.exists(_path(key_id)):
            raise NotFound("there is no key with that id")
        self._store.delete(_path(key_id))

    def reset(self) -> None:
        """Delete all keys and the marker. Servers that start from now on require no key."""
        for path in self._store.list("keys"):
            self._store.delete(path)
        self._store.delete(_REQUIRED)

    def _require(self) -> None:
        with suppress(FileExistsError):
            self._store.create(_REQUIRED, b"{}")  # only its existence matters


def ids_named(name: str, keys: Iterable[Key]) -> frozenset[str]:
    """Return the ids of all keys with a name."""
    return frozenset(key.id for key in keys if key.name == name)


def parse_key(text: str) -> tuple[str, str] | None:
    """Split a key into its id and the hash of its secret; None if the format is wrong."""
    match = _FORMAT.fullmatch(text)
    return (match[1], sha256(match[2].encode()).hexdigest()) if match else None


def _parse(content: bytes) -> Key:
    """Parse the object of a key. Raises ValueError if it is damaged."""
    known = read_object(content)
    scopes = known.get("scopes")
    texts = [known.get(name) for name in ("id", "sha256", "name", "created")]
    if not isinstance(scopes, list) or not all(isinstance(text, str) for text in (*texts, *scopes)):
        raise ValueError("it is not a key")
    return restored(Key, known | {"scopes": tuple(scopes)}, "the key")


def _path(key_id: str) -> str:
    return f"keys/{key_id}.json"
