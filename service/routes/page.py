"""The page: draw a digit, correct the answer, train, promote. Static files of the package, under a strict policy."""

from importlib import resources
from pathlib import Path

from fastapi import FastAPI, Request, Response

from service.routes.revalidated import RevalidatedFiles, revalidated

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


def serve(app: FastAPI) -> None:
    """Add the files that it is made of to an application."""
    app.mount("/page", RevalidatedFiles(directory=_FILES), name="page")
