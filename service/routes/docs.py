"""`/docs` and `/openapi.json`: the interface described, with nothing from elsewhere and no script inside the page.

The files of Swagger UI are those of the package fastapi-offline; its own page would start them by an inline script,
which a strict Content-Security-Policy forbids.
"""

import threading
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from service.access import Access, scope_of
from service.problems import problem_type
from service.routes.revalidated import RevalidatedFiles, revalidated
from service.schemas import Problem

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
"""Swagger UI sets styles on its elements; scripts come from here alone."""
_START = 'SwaggerUIBundle({url: "./openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'


def serve(app: FastAPI) -> None:
    """Add the documentation to an application."""
    files = Path(str(resources.files("fastapi_offline"))) / "static"
    app.mount("/docs/static", RevalidatedFiles(directory=files), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def page(request: Request) -> Response:
        return revalidated(request.headers, _PAGE.encode(), "text/html", {"Content-Security-Policy": _POLICY})

    @app.get("/docs/start.js", include_in_schema=False)
    async def start(request: Request) -> Response:
        return revalidated(request.headers, _START.encode(), "text/javascript")

    describing = threading.Lock()

    def describe() -> dict[str, Any]:
        with describing:
            if app.openapi_schema is None:
                app.openapi_schema = _description(app)
            return app.openapi_schema

    @app.get("/openapi.json", include_in_schema=False)
    def description(request: Request) -> Response:
        """Runs in a thread: the description takes a second to make the first time."""
        return revalidated(request.headers, orjson.dumps(describe()), "application/json")

    app.openapi = describe  # type: ignore[method-assign]  # the way that FastAPI's documentation gives


def _description(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    access: Access = app.state.parts.access
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if not access.is_open(scope := scope_of(method.upper(), path)):
                operation["security"] = [{"key": []}]
                operation["description"] = f"{operation.get('description', '')}\n\nWith keys: needs `{scope}`.".strip()
            # FastAPI lists the model of errors under the media type of the route's own answer, too.
            operation["responses"]["default"]["content"] = {problem_type(path): schema}
    described["servers"] = [{"url": "."}]  # where this description is, below whatever prefix
    described["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key (`glyphserve keys create`), once there are any.",
        }
    }
    return described
