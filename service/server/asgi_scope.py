"""The ASGI scope and response cycle of a request, for connections that may also use the fast path."""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


def http_scope(
    connection: HttpToolsProtocol, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], version: str
) -> Any:
    """Return the scope of a request (ASGI specification, HTTP connection scope). Raises httptools' parser error."""
    parsed = httptools.parse_url(url)
    path = parsed.path or b"/"
    if parsed.host:
        headers = _with_host(headers, parsed.host, parsed.port)
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme or "http",
        "method": method.decode("ascii"),
        "root_path": connection.root_path,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": parsed.query or b"",
        "headers": headers,
        "state": connection.app_state.copy(),
    }


def _with_host(headers: list[tuple[bytes, bytes]], host: bytes, port: int | None) -> list[tuple[bytes, bytes]]:
    """Replace the Host header by the authority of an absolute target (RFC 9112, section 3.2.2)."""
    name = b"[%b]" % host if b":" in host else host
    authority = name if port is None else b"%b:%d" % (name, port)
    replaced = [(key, authority if key == b"host" else value) for key, value in headers]
    return replaced if any(key == b"host" for key, _ in headers) else [*replaced, (b"host", authority)]


def make_cycle(connection: HttpToolsProtocol, *, keep_alive: bool) -> RequestResponseCycle:
    """Return uvicorn's request-response cycle for the last request of a connection.

    uvicorn creates it in a method that also parses the request, so it is created here with the same arguments.
    """
    return RequestResponseCycle(
        scope=connection.scope,
        transport=connection.transport,
        flow=connection.flow,
        logger=connection.logger,
        access_logger=connection.access_logger,
        access_log=connection.access_log,
        default_headers=connection.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=connection.expect_100_continue,
        keep_alive=keep_alive,
        on_response=connection.on_response_complete,
    )
