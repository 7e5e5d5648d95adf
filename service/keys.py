"""API keys: `gs_<id>_<secret>`. The store knows the id and a hash of the secret; only the holder knows the key.

    keys/<id>.json        one object a key, so that all replicas see it and revoking is deleting
    keys-required.json    there was a key once: where all are gone, nobody is let in

A secret is 32 random bytes: nobody guesses one, so a plain SHA-256 is enough and costs a request a microsecond.
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

from service.errors import InvalidInput, NotFound, Unavailable
from service.json_objects import read_object
from service.registry.store import Store
from training.stored import restored

log = logging.getLogger(__name__)

SCOPES = ("predict", "train", "admin")
"""What a key may be for; `admin` may do everything."""

_REQUIRED = "keys-required.json"
_FORM = re.compile(r"gs_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_MOST_NAME = 80


@dataclass(frozen=True)
class Key:
    """What is known of a key."""

    id: str
    sha256: str
    """Of the secret."""
    scopes: tuple[str, ...]
    name: str
    """Whose it is, or what it is for."""
    created: str


class Keys:
    """The keys of a store."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self._store = store

    def create(self, scopes: tuple[str, ...], name: str = "") -> tuple[Key, str]:
        """Make a key; answer it and its text, which is told this once and never again. Raises InvalidInput."""
        if not scopes or not set(scopes) <= set(SCOPES):
            raise InvalidInput(f"a key needs one or more of the scopes {', '.join(SCOPES)}", field="scope")
        if len(name) > _MOST_NAME or not name.isprintable():
            raise InvalidInput(f"a key's name is at most {_MOST_NAME} printable characters", field="name")
        key_id = "".join(secrets.choice(_LETTERS) for _ in range(8))
        secret = secrets.token_urlsafe(32)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(key_id, sha256(secret.encode()).hexdigest(), tuple(sorted(set(scopes))), name, since)
        self._require()
        self._store.create(_path(key_id), json.dumps(asdict(key)).encode())
        return key, f"gs_{key_id}_{secret}"

    def list(self) -> list[Key]:
        """List all keys, oldest first. A key whose object is damaged opens nothing, and is left out."""
        keys, paths = [], self._store.list("keys")
        known_damaged = self._store.damaged.keys()
        for gone in {path for path in known_damaged if path.startswith("keys/")} - {*paths}:
            self._store.damaged.discard(gone)
        for path in paths:
            try:
                with self._store.damaged.track(path, ValueError):
                    keys.append(_parsed(self._store.get(path)))
            except (FileNotFoundError, ValueError):
                continue
        return sorted(keys, key=lambda key: key.created)

    def state(self) -> frozenset[tuple[str, str | None]]:
        """Tell of which objects the keys are: cheap, and different when a key was added, changed or revoked."""
        return frozenset(self._store.etags("keys").items())

    def are_required(self) -> bool:
        """Tell whether requests need a key: there is one, or there was one before."""
        if self._store.exists(_REQUIRED):
            return True
        if not self._store.list("keys"):
            return False
        try:  # an earlier release made them
            self._require()
        except Unavailable as error:
            log.warning("it cannot be noted that keys are required: %s", error.detail)
        return True

    def revoke(self, key_id: str) -> None:
        """Delete a key. Raises NotFound."""
        if not self._store.exists(_path(key_id)):
            raise NotFound("there is no key of that id")
        self._store.delete(_path(key_id))

    def reset(self) -> None:
        """Delete all keys, and that there were any: servers that are started from now on ask for none."""
        for path in self._store.list("keys"):
            self._store.delete(path)
        self._store.delete(_REQUIRED)

    def _require(self) -> None:
        with suppress(FileExistsError):
            self._store.create(_REQUIRED, b"{}")  # that it is there counts, whatever it says


def ids_named(name: str, keys: Iterable[Key]) -> frozenset[str]:
    """List the ids of the keys of a name."""
    return frozenset(key.id for key in keys if key.name == name)


def take_apart(text: str) -> tuple[str, str] | None:
    """Split a key into its id and the hash of its secret; None when it is no key at all."""
    found = _FORM.fullmatch(text)
    return (found[1], sha256(found[2].encode()).hexdigest()) if found else None


def _parsed(content: bytes) -> Key:
    """Read a key's object. Raises ValueError when it is damaged."""
    known = read_object(content)
    scopes = known.get("scopes")
    texts = [known.get(name) for name in ("id", "sha256", "name", "created")]
    if not isinstance(scopes, list) or not all(isinstance(text, str) for text in (*texts, *scopes)):
        raise ValueError("it is no key")
    return restored(Key, known | {"scopes": tuple(scopes)}, "the key")


def _path(key_id: str) -> str:
    return f"keys/{key_id}.json"
