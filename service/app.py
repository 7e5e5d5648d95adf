"""`create_app`: the only place where the parts meet. Importing this starts nothing."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from service.access import Access
from service.dependencies import Parts
from service.errors import (
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    Unavailable,
)
from service.jobs.evaluations import Evaluations
from service.jobs.queue import Jobs
from service.keys import Keys
from service.models.predictor import Predictor
from service.models.registry import Registry
from service.models.released import adopt_released
from service.models.store import open_store
from service.observability.board import Siblings
from service.observability.metrics import Metrics
from service.observability.telemetry import open_telemetry
from service.problems import error_headers, problem, problem_type
from service.publishing import keep_publishing, publish
from service.routes import docs, downloads, evaluation, health, inference, models, page, predict, samples, train
from service.samples.recent import Recent, shared_folder
from service.samples.samples import open_samples
from service.settings import Settings
from service.transport.admission import Admission
from service.transport.edge import Edge

log = logging.getLogger(__name__)

_HTTP_ERRORS = {400: MalformedRequest, 404: NotFound, 405: MethodNotAllowed, 413: PayloadTooLarge, 503: Unavailable}


def create_app(settings: Settings, siblings: Siblings | None = None) -> FastAPI:
    """Build the application: it opens the store, adopts the released models, and answers by the alias's version."""
    metrics = Metrics(siblings)
    store = open_store(settings.store_location)
    registry = Registry(store)
    predictor = Predictor(
        registry, settings.model, settings.alias, on_swap=lambda fresh: metrics.serve(fresh.model, fresh.version)
    )
    metrics.trouble = lambda: predictor.trouble is not None
    metrics.watch_trial(lambda: (trial.labels, asdict(trial.figures())) if (trial := predictor.trial) else None)
    recent = Recent(settings.remembered_images, shared_folder(settings.home) if siblings else None)
    access = Access(Keys(store), settings)
    samples = open_samples(store, settings)
    parts = Parts(
        settings,
        registry,
        predictor,
        Jobs(settings),
        metrics,
        samples,
        recent,
        access,
        Evaluations(registry, settings.datasets_dir),
        siblings=siblings,
        telemetry=open_telemetry(),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        adopted = await asyncio.to_thread(_adopt, registry, settings.alias)
        await asyncio.to_thread(predictor.follow)
        await asyncio.to_thread(access.follow)
        following = asyncio.create_task(_follow(registry, parts, adopted=adopted))
        publishing = asyncio.create_task(keep_publishing(parts))
        yield
        following.cancel()
        publishing.cancel()
        publish(parts)
        recent.close()
        await asyncio.to_thread(predictor.close)
        await asyncio.to_thread(parts.jobs.close)
        if parts.telemetry:
            await asyncio.to_thread(parts.telemetry.close)

    app = FastAPI(
        title="glyphserve",
        version=_version(),
        description="Recognises handwritten digits, and keeps learning while it serves.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=docs.ERRORS,
    )
    app.state.parts = parts
    app.state.admission = Admission(settings.max_running_requests, settings.max_waiting_requests)
    limits = (
        ("/predict", settings.max_body_bytes),
        ("/samples", settings.max_body_bytes),
        ("/v1/models", settings.max_body_bytes),
        ("/v2/models", settings.max_body_bytes),
        ("", settings.max_json_bytes),
    )
    app.add_middleware(
        Edge,
        metrics=metrics,
        access=access,
        admission=app.state.admission,
        body_limits=limits,
        request_seconds=settings.request_seconds,
        logs_all=settings.log_requests == "all",
        telemetry=parts.telemetry,
    )
    for router in _ROUTERS:
        app.include_router(router)
    _answer_errors(app)
    docs.serve(app)
    page.serve(app)
    return app


_ROUTERS = (
    predict.router,
    samples.router,
    train.router,
    models.router,
    evaluation.router,  # before the files of a version, which would take its address for a file's name
    downloads.router,
    health.router,
    *inference.ROUTERS,
)


def _adopt(registry: Registry, alias: str) -> bool:
    try:
        adopt_released(registry, alias)
    except ServiceError as error:  # what the store has may still serve; readiness tells if it does not
        log.error("the released models were not added: %s", error.detail)
        return False
    return True


async def _follow(registry: Registry, parts: Parts, *, adopted: bool) -> None:
    predictor, settings = parts.predictor, parts.settings
    while True:
        await asyncio.sleep(settings.alias_poll_seconds)
        await asyncio.to_thread(parts.access.follow)
        if not adopted and predictor.trouble:  # the store was out of reach when we started; it may be empty, too
            adopted = await asyncio.to_thread(_adopt, registry, settings.alias)
        await asyncio.to_thread(predictor.follow)


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
        return answer(request, InvalidInput(f"{place or 'body'}: {first['msg']}", field=place or None))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, ServiceError):  # FastAPI wraps what goes wrong while it reads a body
            return answer(request, error.__cause__)
        kind = _HTTP_ERRORS.get(error.status_code, ServiceError)
        detail = {404: "there is nothing at this address", 405: "not with this method"}
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else dict(error.headers or {})
        return answer(request, kind(detail.get(error.status_code, "the request is malformed")), headers)


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
