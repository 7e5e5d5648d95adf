"""Protection against cross-site request forgery: a page of another origin must not change anything by a browser's hand.

The algorithm is that of Go's `http.CrossOriginProtection` (Valsorda, "Cross-Site Request Forgery", 2025): fetch
metadata where the browser sends it, else `Origin` against `Host`. Clients that are no browsers send neither.
"""

import re
from collections.abc import Iterable

from service.errors import CrossOrigin

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_PREDICTIONS = re.compile(
    r"/predict"
    r"|/v1/models/[^/]+(/(versions|labels)/[^/]+)?:(predict|classify|regress|explain)"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/infer"
    r"|/v2/repository/index"
)
"""What is sent by POST and stores nothing. Every other address counts as state-changing, those to come included."""
_OWN_SITES = frozenset({b"same-origin", b"none"})  # `same-site` is another port or subdomain: another origin
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def changes_state(method: str, path: str) -> bool:
    """Tell whether a request may change what the service stores or serves."""
    return method not in SAFE_METHODS and not (method == "POST" and _PREDICTIONS.fullmatch(path))


def check_origin(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise CrossOrigin for a state-changing request that a browser sends on behalf of another origin's page.

    Of headers that came several times each must be the own page's.
    """
    if not changes_state(method, path):
        return
    headers = list(headers)
    sites = [value for name, value in headers if name == b"sec-fetch-site"]
    if sites:
        is_own = _OWN_SITES.issuperset(sites)
    else:
        host = dict(headers).get(b"host", b"")
        is_own = all(_is_of_host(value, host) for name, value in headers if name == b"origin")
    if not is_own:
        raise CrossOrigin(
            "a web page of another origin may not change anything here; send a key (Authorization: Bearer gs_…), "
            "or, behind a proxy, let it pass the Host header on"
        )


def _is_of_host(origin: bytes, host: bytes) -> bool:
    """Compare without the scheme, which TLS before us changes; its default port may be written or left out."""
    scheme, _, authority = origin.lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and authority.removesuffix(port) == host.lower().removesuffix(port)
