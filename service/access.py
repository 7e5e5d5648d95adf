"""Who may ask for what: the host that was meant, the key that was shown, and the scope that a route needs.

With no key at all everything is open, which is why `serve` then listens on the own machine alone. From the first key
on, every route but the open ones needs one: `Authorization: Bearer gs_…`.
"""

import hmac
import logging
import re
from collections.abc import Iterable, Mapping

from service.cross_origin import check_origin
from service.errors import Forbidden, Misdirected, ServiceError, Unauthorized, Unavailable
from service.keys import Key, Keys, ids_named, take_apart
from service.settings import Settings

log = logging.getLogger(__name__)

OPEN = "open"

# The first line that fits counts. A path fits when it is the prefix or lies below it.
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("*", "/health", OPEN),
    ("*", "/v2/health", OPEN),
    ("*", "/docs", OPEN),
    ("*", "/openapi.json", OPEN),
    ("POST", "/v2/repository/models", "admin"),
    ("*", "/predict", "predict"),
    ("*", "/v1", "predict"),
    ("*", "/v2", "predict"),
    ("*", "/samples", "train"),
    ("*", "/train", "train"),
    ("GET", "/models", "predict"),
    ("HEAD", "/models", "predict"),
    ("*", "/models", "admin"),
    ("*", "/metrics", "metrics"),
)

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?", re.ASCII)
_LAST_PORT = 65_535
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def scope_of(method: str, path: str) -> str:
    """Name the scope that a request needs; what is at no address of the list is open, and answered by 404."""
    for verb, prefix, scope in ROUTES:
        if verb in ("*", method) and (path == prefix or path.startswith((f"{prefix}/", f"{prefix}:"))):
            return scope
    return OPEN


class Access:
    """The lock of one application."""

    def __init__(self, keys: Keys, settings: Settings) -> None:
        """Nobody is let in before `follow` has read the keys."""
        self._keys = keys
        self._known: Mapping[str, Key] | None = None
        self._state: object = None
        self._keyed = False
        self._trouble = ""
        self._open = {OPEN}
        if settings.open_predict:
            self._open.add("predict")
        if settings.open_metrics:
            self._open.add("metrics")
        named = frozenset(_name(name.strip()) for name in (settings.allowed_hosts or "").split(",") if name.strip())
        self._hosts = named or _LOOPBACK | {_name(settings.host)}
        self._keys_suffice = not named and not settings.is_local
        self._good_host: bytes | None = None

    def follow(self) -> None:
        """Read the keys again if any was added, changed or revoked. Blocks.

        When the store fails, the keys of before count.
        """
        trouble = ""
        try:
            state = self._keys.state()
            if self._known is None or state != self._state:
                # Whose keys are all gone is locked, not open.
                self._keyed = self._keyed or self._keys.are_required()
                self._known, self._state = {key.id: key for key in self._keys.list()}, state
            if self._keyed and not self._known:
                trouble = (
                    "no key is left that can be read, so nobody is let in: bring back the keys of the store, make one "
                    "(glyphserve keys create), or do without (glyphserve keys reset)"
                )
        except ServiceError as error:
            trouble = f"the keys cannot be read: {error.detail}"
        if trouble and trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble

    def ensure_known(self, scope: str) -> None:
        """Raise Unavailable as long as nobody can be let in: before `follow`, where the scope needs a key."""
        if self._known is None and scope not in self._open:
            raise Unavailable("the keys cannot be read yet", retry_after_seconds=1)

    def is_open(self, scope: str) -> bool:
        """Tell whether a scope needs no key, whatever keys there are."""
        return scope in self._open

    def check(self, authorization: bytes | None, scope: str) -> None:
        """Raise Unauthorized without a good key, Forbidden with one for something else, Unavailable before `follow`."""
        self.ensure_known(scope)
        if not self._keyed or scope in self._open:
            return
        key = self._shown(authorization)
        if scope not in key.scopes and "admin" not in key.scopes:
            raise Forbidden(f"this key is not for {scope}")

    def check_origin(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise CrossOrigin for a state-changing request of another origin's page, unless `check` has asked for a key.

        A page cannot send a key that it does not know, and no browser adds one by itself.
        """
        if not self._keyed or scope_of(method, path) in self._open:
            check_origin(method, path, headers)

    def key(self, authorization: bytes | None) -> Key | None:
        """Give the key that a request was let in by; None where keys are not asked for."""
        return self._shown(authorization) if self._keyed else None

    def ids_named(self, name: str) -> frozenset[str]:
        """List the ids of the keys of a name."""
        return ids_named(name, (self._known or {}).values())

    def _shown(self, authorization: bytes | None) -> Key:
        kind, _, text = (authorization or b"").decode("latin-1").partition(" ")
        if kind.lower() != "bearer":
            raise Unauthorized("this needs a key: send the header Authorization: Bearer gs_…")
        shown = take_apart(text.strip())
        if shown is None:
            raise Unauthorized("this is no whole key: one is gs_, 8 letters, _, and 43 more", is_invalid=True)
        key_id, digest = shown
        key = (self._known or {}).get(key_id)
        if key is None or not hmac.compare_digest(key.sha256, digest):
            raise Unauthorized("this key is not known, or was revoked", is_invalid=True)
        return key

    def check_host(self, host: bytes | None) -> None:
        """Raise Misdirected when a request means another host: a page may have bound its own name to our address.

        Where a key is asked for, and the names are not set, any will do: that page has no key.
        """
        if (host is not None and host == self._good_host) or (self._keyed and self._keys_suffice):
            return
        name = _asked(host or b"")
        if name and name in self._hosts:
            self._good_host = host  # as nearly every request will say it
            return
        if "*" not in self._hosts and not any(
            pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in self._hosts
        ):
            raise Misdirected("this server does not go by that name; GLYPHSERVE_ALLOWED_HOSTS names those it goes by")


def _asked(host: bytes) -> str:
    """Give the name that a request asks for, in lower case; "" for what is not name or name:port."""
    found = _HOST.fullmatch(host.decode("latin-1").lower())
    return found[1] if found and int(found[2] or 0) <= _LAST_PORT else ""


def _name(host: str) -> str:
    """Take the port off a host, in lower case; an IPv6 address gets the brackets that a Kubernetes pod is not told."""
    host = host.lower()
    if host.count(":") > 1 and not host.startswith("["):
        return f"[{host}]"
    bracket = host.rfind("]")
    return host[: bracket + 1] if bracket > 0 else host.partition(":")[0]
