"""`/docs` and `/openapi.json`: Swagger UI and the OpenAPI description, without external resources or inline scripts.

The files of Swagger UI come from the package fastapi-offline. Its page starts them with an inline script, which a
strict Content-Security-Policy forbids, so this module has its own page.
"""

import threading
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from service.api.auth import Authorizer, required_scope
from service.api.problem_details import problem_media_type
from service.api.routes.page import RevalidatedFiles, revalidated
from service.api.schemas import Problem

ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "model": Problem,
        "description": "Any error",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>glyphserve</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="./docs/static/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="./docs/static/swagger-ui-bundle.js"></script>
<script src="./docs/start.js"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
"""Swagger UI sets inline styles; scripts are loaded from this server only."""
_START = 'SwaggerUIBundle({url: "./openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'


def mount_docs(app: FastAPI) -> None:
    """Add the documentation routes to an application."""
    files = Path(str(resources.files("fastapi_offline"))) / "static"
    app.mount("/docs/static", RevalidatedFiles(directory=files), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def page(request: Request) -> Response:
        return revalidated(request.headers, _PAGE.encode(), "text/html", {"Content-Security-Policy": _POLICY})

    @app.get("/docs/start.js", include_in_schema=False)
    async def start(request: Request) -> Response:
        return revalidated(request.headers, _START.encode(), "text/javascript")

    lock = threading.Lock()

    def describe() -> dict[str, Any]:
        with lock:
            if app.openapi_schema is None:
                app.openapi_schema = _description(app)
            return app.openapi_schema

    @app.get("/openapi.json", include_in_schema=False)
    def description(request: Request) -> Response:
        """Not async, so it runs in a thread: the first call takes a second."""
        return revalidated(request.headers, orjson.dumps(describe()), "application/json")

    app.openapi = describe  # type: ignore[method-assign]  # as FastAPI's documentation recommends


def _description(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    authorizer: Authorizer = app.state.services.authorizer
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if not authorizer.is_public(scope := required_scope(method.upper(), path)):
                operation["security"] = [{"key": []}]
                operation["description"] = (
                    f"{operation.get('description', '')}\n\nIf API keys exist, requires the scope `{scope}`.".strip()
                )
            # FastAPI also lists the error model under the media type of the response.
            operation["responses"]["default"]["content"] = {problem_media_type(path): schema}
    described["servers"] = [{"url": "."}]  # relative to this description, so that any prefix works
    described["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`glyphserve keys create`). Not needed while no key exists.",
        }
    }
    return described
