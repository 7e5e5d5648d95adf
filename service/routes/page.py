"""The page: draw a digit, correct the answer, train, promote. Static files of the package, under a strict policy."""

from importlib import resources
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.staticfiles import StaticFiles

_FILES = Path(str(resources.files("service"))) / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page() -> Response:
    """Give the page itself."""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response((_FILES / "index.html").read_bytes(), media_type="text/html", headers=headers)


def serve(app: FastAPI) -> None:
    """Add the files that it is made of to an application."""
    app.mount("/page", StaticFiles(directory=_FILES), name="page")
