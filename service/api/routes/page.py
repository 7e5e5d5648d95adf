"""The web page, and static content that browsers revalidate before each use.

The ETag is a hash of the content: builds set one date for all files, so date and size do not show changes.
"""

from hashlib import sha256
from importlib import resources
from pathlib import Path

import anyio
from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_DROPPED = frozenset({b"if-none-match", b"if-modified-since", b"range"})
"""What Starlette would answer by date and size; errors about ranges would not have the one shape."""


def revalidated(
    request_headers: Headers, content: bytes, media_type: str | None, headers: dict[str, str] | None = None
) -> Response:
    """Answer with the content, or with 304 to who has it already."""
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"} | (headers or {})
    # A proxy that compresses makes a weak tag of ours.
    known = {tag.strip().removeprefix("W/") for tag in request_headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


class RevalidatedFiles(StaticFiles):
    """Files of a folder, sent as a whole."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Find the file as Starlette does, and answer with what it holds now. Raises HTTPException."""
        plain = {**scope, "headers": [header for header in scope["headers"] if header[0] not in _DROPPED]}
        found = await super().get_response(path, plain)
        if not isinstance(found, FileResponse):
            return found
        return await anyio.to_thread.run_sync(_answer, Path(found.path), found.media_type, Headers(scope=scope))


def _answer(path: Path, media_type: str | None, request_headers: Headers) -> Response:
    return revalidated(request_headers, path.read_bytes(), media_type)


_FILES = Path(str(resources.files("service"))) / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(request: Request) -> Response:
    """Give the page itself."""
    content = (_FILES / "index.html").read_bytes()
    # The same address answers KServe's client with JSON.
    headers = {"Content-Security-Policy": _POLICY, "Vary": "Accept"}
    return revalidated(request.headers, content, "text/html", headers)


def mount_page(app: FastAPI) -> None:
    """Add the files that it is made of to an application."""
    app.mount("/page", RevalidatedFiles(directory=_FILES), name="page")
