"""Authorization: the Host header, API keys with scopes, and protection against cross-site requests.

While no key exists, every route is public; `serve` then listens on the loopback address only. Once there is a key,
every route that is not public requires one: `Authorization: Bearer gs_…`.

The cross-site check follows Go's `http.CrossOriginProtection` (Valsorda, "Cross-Site Request Forgery", 2025): it uses
fetch metadata where the browser sends it, else it compares `Origin` with `Host`. Other clients send neither.
"""

import hmac
import logging
import re
from collections.abc import Iterable, Mapping

from service.api.keys import Key, Keys, ids_named, parse_key
from service.errors import CrossOrigin, Forbidden, MisdirectedRequest, ServiceError, Unauthorized, Unavailable
from service.settings import Settings

log = logging.getLogger(__name__)

PUBLIC = "open"

# The first match applies. A path matches if it is the prefix or lies below it.
ROUTE_SCOPES: tuple[tuple[str, str, str], ...] = (
    ("*", "/health", PUBLIC),
    ("*", "/v2/health", PUBLIC),
    ("*", "/docs", PUBLIC),
    ("*", "/openapi.json", PUBLIC),
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
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?", re.ASCII)
_MAX_PORT = 65_535
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READ_ONLY_POSTS = re.compile(
    r"/predict"
    r"|/v1/models/[^/]+(/(versions|labels)/[^/]+)?:(predict|classify|regress|explain)"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/infer"
    r"|/v2/repository/index"
)
"""POST routes that store nothing. Every other POST counts as state-changing, including future routes."""
_SAME_ORIGIN = frozenset({b"same-origin", b"none"})  # `same-site` means another port or subdomain: another origin
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def required_scope(method: str, path: str) -> str:
    """Return the scope that a request needs. Unknown paths are public; they get 404."""
    for verb, prefix, scope in ROUTE_SCOPES:
        if verb in ("*", method) and (path == prefix or path.startswith((f"{prefix}/", f"{prefix}:"))):
            return scope
    return PUBLIC


class Authorizer:
    """Checks API keys and hosts. Rejects all requests that need a key until `refresh` has loaded the keys."""

    def __init__(self, keys: Keys, settings: Settings) -> None:
        """Read the settings; no key is loaded yet."""
        self._keys = keys
        self._known: Mapping[str, Key] | None = None
        self._state: object = None
        self._requires_key = False
        self._last_error = ""
        self._public = {PUBLIC}
        if settings.open_predict:
            self._public.add("predict")
        if settings.open_metrics:
            self._public.add("metrics")
        names = (name.strip() for name in (settings.allowed_hosts or "").split(","))
        allowed = frozenset(_without_port(name) for name in names if name)
        self._hosts = allowed or _LOOPBACK | {_without_port(settings.host)}
        self._any_host_with_keys = not allowed and not settings.is_local
        self._last_host: bytes | None = None

    def refresh(self) -> None:
        """Load the keys if any was added, changed or revoked. Blocks.

        While the store fails, the keys that were loaded last remain valid.
        """
        problem = ""
        try:
            state = self._keys.state()
            if self._known is None or state != self._state:
                # A store whose keys were all deleted is locked, not public.
                self._requires_key = self._requires_key or self._keys.are_required()
                self._known, self._state = {key.id: key for key in self._keys.list()}, state
            if self._requires_key and not self._known:
                problem = (
                    "no API key can be read, so all requests are rejected; restore the keys of the store, create a key "
                    "(glyphserve keys create), or remove the requirement (glyphserve keys reset)"
                )
        except ServiceError as error:
            problem = f"the API keys cannot be read: {error.detail}"
        if problem and problem != self._last_error:
            log.error("%s", problem)
        self._last_error = problem

    def require_loaded(self, scope: str) -> None:
        """Raise Unavailable before the first `refresh`, unless the scope is public."""
        if self._known is None and scope not in self._public:
            raise Unavailable("the API keys are not loaded yet", retry_after_seconds=1)

    def is_public(self, scope: str) -> bool:
        """Return whether a scope never needs a key."""
        return scope in self._public

    def authorize(self, authorization: bytes | None, scope: str) -> None:
        """Check the value of an Authorization header.

        Raises Unauthorized without a valid key, Forbidden if the key lacks the scope, Unavailable before `refresh`.
        """
        self.require_loaded(scope)
        if not self._requires_key or scope in self._public:
            return
        key = self._find(authorization)
        if scope not in key.scopes and "admin" not in key.scopes:
            raise Forbidden(f"this key does not have the scope {scope}")

    def check_origin(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise CrossOrigin for a state-changing request from a page of another origin, unless a key was required.

        A page cannot send a key that it does not know, and browsers do not add one.
        """
        if not self._requires_key or required_scope(method, path) in self._public:
            check_origin(method, path, headers)

    def key(self, authorization: bytes | None) -> Key | None:
        """Return the key of a request that was authorized; None if no key is required."""
        return self._find(authorization) if self._requires_key else None

    def ids_named(self, name: str) -> frozenset[str]:
        """Return the ids of all keys with a name."""
        return ids_named(name, (self._known or {}).values())

    def _find(self, authorization: bytes | None) -> Key:
        scheme, _, text = (authorization or b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("an API key is required; send the header Authorization: Bearer gs_…")
        parsed = parse_key(text.strip())
        if parsed is None:
            raise Unauthorized(
                "this is not a complete API key; a key is gs_, 8 characters, _, 43 characters", is_invalid=True
            )
        key_id, digest = parsed
        key = (self._known or {}).get(key_id)
        if key is None or not hmac.compare_digest(key.sha256, digest):
            raise Unauthorized("this API key is unknown or was revoked", is_invalid=True)
        return key

    def check_host(self, host: bytes | None) -> None:
        """Raise MisdirectedRequest for an unknown host, which protects against DNS rebinding.

        Where a key is required and no hosts are configured, any host is accepted: a rebinding page has no key.
        """
        if (host is not None and host == self._last_host) or (self._requires_key and self._any_host_with_keys):
            return
        name = _host_name(host or b"")
        if name and name in self._hosts:
            self._last_host = host  # nearly all requests have the same host
            return
        if "*" not in self._hosts and not any(
            pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in self._hosts
        ):
            raise MisdirectedRequest("unknown host; add it to GLYPHSERVE_ALLOWED_HOSTS")


def _host_name(host: bytes) -> str:
    """Return the name in a Host header, in lower case; "" if the header is neither a name nor name:port."""
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match[1] if match and int(match[2] or 0) <= _MAX_PORT else ""


def _without_port(host: str) -> str:
    """Remove the port of a host, in lower case. A bare IPv6 address, as Kubernetes gives it, gets brackets."""
    host = host.lower()
    if host.count(":") > 1 and not host.startswith("["):
        return f"[{host}]"
    bracket = host.rfind("]")
    return host[: bracket + 1] if bracket > 0 else host.partition(":")[0]


def changes_state(method: str, path: str) -> bool:
    """Return whether a request may change what the service stores or serves."""
    return method not in SAFE_METHODS and not (method == "POST" and _READ_ONLY_POSTS.fullmatch(path))


def check_origin(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise CrossOrigin for a state-changing request that a browser sends on behalf of another origin.

    If a header was sent several times, every value must match.
    """
    if not changes_state(method, path):
        return
    headers = list(headers)
    sites = [value for name, value in headers if name == b"sec-fetch-site"]
    if sites:
        is_same_origin = _SAME_ORIGIN.issuperset(sites)
    else:
        host = dict(headers).get(b"host", b"")
        is_same_origin = all(_is_origin_of(value, host) for name, value in headers if name == b"origin")
    if not is_same_origin:
        raise CrossOrigin(
            "a web page of another origin may not change anything here; send an API key (Authorization: Bearer gs_…), "
            "or configure the reverse proxy to forward the Host header"
        )


def _is_origin_of(origin: bytes, host: bytes) -> bool:
    """Compare an origin with a host without the scheme, which a TLS proxy changes. Default ports are optional."""
    scheme, _, authority = origin.lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and authority.removesuffix(port) == host.lower().removesuffix(port)
