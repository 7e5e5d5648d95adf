"""The application: routes, the edge around them, and the one shape of errors. Importing this starts nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from service.assembly import adopt, assemble, living
from service.decompression import Decompression
from service.dependencies import require_json
from service.errors import (
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    Unavailable,
)
from service.observability.board import Siblings
from service.parts import Parts
from service.problems import error_headers, problem, problem_type
from service.routes import (
    docs,
    downloads,
    evaluation,
    health,
    inference,
    models,
    page,
    predict,
    samples,
    train,
    train_events,
)
from service.settings import Settings
from service.transport.admission import Admission
from service.transport.edge import Edge

_HTTP_ERRORS = {400: MalformedRequest, 404: NotFound, 405: MethodNotAllowed, 413: PayloadTooLarge, 503: Unavailable}


def create_app(settings: Settings, siblings: Siblings | None = None) -> FastAPI:
    """Build the whole application: it opens the store, adopts the released models, and follows its alias."""
    parts = assemble(settings, siblings)
    return application(parts, Admission(settings.max_running_requests, settings.max_waiting_requests))


def application(parts: Parts, admission: Admission) -> FastAPI:
    """Build the application on its parts, which are to be `living` before it is asked: its lifespan sees to that."""
    settings = parts.settings

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with living(parts):
            await asyncio.to_thread(adopt, parts)
            yield

    app = FastAPI(
        title="glyphserve",
        version=_version(),
        description="Recognises handwritten digits, and keeps learning while it serves.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # its redirects name a host and a path that a proxy may have changed
        routes=_API.routes,
    )
    app.state.parts = parts
    limits = (
        ("/predict", settings.max_body_bytes),
        ("/samples", settings.max_body_bytes),
        ("/v1/models", settings.max_body_bytes),
        ("/v2/models", settings.max_body_bytes),
        ("", settings.max_json_bytes),
    )
    app.add_middleware(Decompression, body_limits=limits)
    app.add_middleware(
        Edge,
        metrics=parts.metrics,
        access=parts.access,
        admission=admission,
        body_limits=limits,
        request_seconds=settings.request_seconds,
        logs_all=settings.log_requests == "all",
        telemetry=parts.telemetry,
    )
    _answer_errors(app)
    docs.serve(app)
    page.serve(app)
    return app


_ROUTERS = (
    predict.router,
    samples.router,
    train.router,
    train_events.router,
    models.router,
    evaluation.router,  # before the files of a version, which would take its address for a file's name
    downloads.router,
    health.router,
    *inference.ROUTERS,
)
_ANY_REQUEST = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
_READ_BODIES = (predict.router, samples.router, *inference.ROUTERS)
"""Routers that read bodies of several kinds themselves; all others take JSON alone."""
_API = APIRouter(responses=docs.ERRORS)
"""All routes. Made once per process: FastAPI takes long to complete them, and tests make thousands of apps."""
for _router in _ROUTERS:
    _API.include_router(_router, dependencies=[] if _router in _READ_BODIES else [Depends(require_json)])


def prepare(app: FastAPI) -> None:
    """Do what FastAPI and anyio would do at the first request, on the event loop: complete routes, import threads."""
    anyio.run(anyio.sleep, 0)
    for route in app.routes:
        route.matches(dict(_ANY_REQUEST))


def _answer_errors(app: FastAPI) -> None:
    """Give every error the one shape, whoever raised it."""

    def answer(request: Request, error: ServiceError, headers: dict[str, str] | None = None) -> Response:
        headers = dict(headers or {}) | error_headers(error)
        content = problem(error, request.state.request_id)
        return Response(content, error.status, headers, media_type=problem_type(request.url.path))

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(request, MalformedRequest("the body is not JSON"))
        place = ".".join(str(part) for part in first["loc"][1:])
        return answer(request, InvalidInput(f"{place or 'body'} {_complaint(first)}", field=place or None))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, ServiceError):  # FastAPI wraps what goes wrong while it reads a body
            return answer(request, error.__cause__)
        kind = _HTTP_ERRORS.get(error.status_code, ServiceError)
        is_folder = request.url.path.endswith("/")
        nothing = "there is nothing at this address" + ("; leave out the slash at its end" if is_folder else "")
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else dict(error.headers or {})
        detail = {404: nothing, 405: f"{request.method} is not allowed here; allowed are {headers.get('Allow')}"}
        return answer(request, kind(detail.get(error.status_code, "the request is malformed")), headers)


def _complaint(error: dict[str, Any]) -> str:
    """Say what is wrong with a field, from an error of pydantic's: what was expected and what came."""
    found = error["input"]
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "string_pattern_mismatch":
            expected = f"should match {error['ctx']['pattern']}"
        case _:
            expected = error["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{expected}, not {found!r:.100}" if isinstance(found, str | int | float | None) else expected


def _allowed(request: Request) -> str:
    """List the methods of an address; Starlette names those of the first route that fits alone."""
    routes = [
        route for router in (request.app.router, *_ROUTERS) for route in router.routes if isinstance(route, Route)
    ]
    fitting = [route for route in routes if route.matches(dict(request.scope))[0] != Match.NONE]
    exact = [route for route in fitting if route.path == request.url.path]  # /samples/export is no /samples/{id}
    methods = {method for route in exact or fitting for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _version() -> str:
    try:
        return version("glyphserve")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"
