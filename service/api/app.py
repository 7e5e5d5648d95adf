"""The FastAPI application: routes, middleware and error handlers. Importing this module starts nothing."""

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from service.api import openapi
from service.api.compression import DecompressionMiddleware
from service.api.dependencies import require_json
from service.api.middleware import RequestMiddleware
from service.api.problem_details import problem_response
from service.api.routes import (
    evaluation,
    health,
    models,
    page,
    predict,
    samples,
    train,
    v1,
    v2,
    v2_repository,
    version_files,
)
from service.bootstrap import build_services, install_bundled_models, running
from service.errors import (
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    Unavailable,
    UnprocessableContent,
)
from service.services import Services
from service.settings import Settings

_HTTP_ERRORS = {400: MalformedRequest, 404: NotFound, 405: MethodNotAllowed, 413: PayloadTooLarge, 503: Unavailable}


def create_app(settings: Settings) -> FastAPI:
    """Build the services, install the bundled models that are missing, and build the application."""
    services = build_services(settings)
    install_bundled_models(services)
    return build_app(services)


def build_app(services: Services) -> FastAPI:
    """Build the application. Its lifespan enters `bootstrap.running`, which must be active while it serves."""
    settings = services.settings

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with running(services):
            yield

    app = FastAPI(
        title="glyphserve",
        version=_version(),
        description="Recognises handwritten digits, and keeps learning while it serves.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect names a host and a path, which a proxy may have rewritten
        routes=_API.routes,
    )
    app.state.services = services
    limits = (
        ("/predict", settings.max_body_bytes),
        ("/samples", settings.max_body_bytes),
        ("/v1/models", settings.max_body_bytes),
        ("/v2/models", settings.max_body_bytes),
        ("", settings.max_json_bytes),
    )
    app.add_middleware(DecompressionMiddleware, body_limits=limits)
    app.add_middleware(
        RequestMiddleware,
        metrics=services.metrics,
        authorizer=services.authorizer,
        limiter=services.limiter,
        body_limits=limits,
        request_seconds=settings.request_seconds,
        logs_all=settings.log_requests == "all",
        telemetry=services.telemetry,
    )
    _add_error_handlers(app)
    openapi.mount_docs(app)
    page.mount_page(app)
    return app


_PROTOCOL_ROUTERS = (v2.router, v2_repository.router, v1.router)
_ROUTERS = (
    predict.router,
    samples.router,
    train.router,
    models.router,
    evaluation.router,  # before the files of a version, whose route would match its address as a file name
    version_files.router,
    health.router,
    *_PROTOCOL_ROUTERS,
)
_ANY_REQUEST = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
_READ_BODIES = (predict.router, samples.router, *_PROTOCOL_ROUTERS)
"""Routers that parse several content types themselves. The others accept only JSON."""
_API = APIRouter(responses=openapi.ERRORS)
"""All routes. Built once per process: FastAPI takes long to build them, and tests create thousands of applications."""
for _router in _ROUTERS:
    _API.include_router(_router, dependencies=[] if _router in _READ_BODIES else [Depends(require_json)])


def prepare(app: FastAPI) -> None:
    """Do now what FastAPI and anyio would do on the event loop at the first request: build routes, import modules."""
    anyio.run(anyio.sleep, 0)
    for route in app.routes:
        route.matches(dict(_ANY_REQUEST))


def _add_error_handlers(app: FastAPI) -> None:
    """Render every error as problem details."""

    def render(request: Request, error: ServiceError, headers: dict[str, str] | None = None) -> Response:
        status, fields, body = problem_response(error, request.url.path, request.state.request_id)
        return Response(body, status, {**(headers or {}), **fields})

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return render(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return render(request, MalformedRequest("the body is not JSON"))
        field = ".".join(str(part) for part in first["loc"][1:])
        return render(request, UnprocessableContent(f"{field or 'body'} {_reason(first)}", field=field or None))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, ServiceError):  # FastAPI wraps errors that occur while it reads a body
            return render(request, error.__cause__)
        kind = _HTTP_ERRORS.get(error.status_code, ServiceError)
        not_found = "there is nothing at this address"
        if request.url.path.endswith("/"):
            not_found += "; remove the trailing slash"
        headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else dict(error.headers or {})
        detail = {
            404: not_found,
            405: f"{request.method} is not allowed here; use {headers.get('Allow')}",
        }
        return render(request, kind(detail.get(error.status_code, "the request is malformed")), headers)


def _reason(error: dict[str, Any]) -> str:
    """Describe a pydantic error: what was expected and what was received."""
    received = error["input"]
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a known field"
        case "string_pattern_mismatch":
            expected = f"should match {error['ctx']['pattern']}"
        case _:
            expected = error["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{expected}, not {received!r:.100}" if isinstance(received, str | int | float | None) else expected


def _allowed_methods(request: Request) -> str:
    """List the methods of all routes at an address. Starlette lists only those of the first route that matches."""
    routes = [
        route for router in (request.app.router, *_ROUTERS) for route in router.routes if isinstance(route, Route)
    ]
    matching = [route for route in routes if route.matches(dict(request.scope))[0] != Match.NONE]
    exact = [route for route in matching if route.path == request.url.path]  # /samples/export also matches a sample
    methods = {method for route in exact or matching for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _version() -> str:
    try:
        return version("glyphserve")
    except PackageNotFoundError:  # a source tree that is not installed
        return "source"
