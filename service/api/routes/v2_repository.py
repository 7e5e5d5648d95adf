"""The repository extension of the V2 protocol: which versions there are, and looking again at what shall serve.

The registry is the repository. Every version that it has can be asked for at any time: one that is not in memory is
loaded by the first request that names it. So `load` means "now", and `unload` lets go of memory:

    load      the serving model: what its alias means now is loaded, verified and taken into service;
              another model: what the alias means is loaded and verified afresh
    unload    another model: its versions leave the memory; the serving model cannot be unloaded (409)
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.dependencies import ServicesDep
from service.api.routes.protocol_handler import load_model
from service.api.routes.v2 import all_versions, manifest_of
from service.errors import Conflict, CorruptModel, InvalidTensor, Unavailable
from service.inference.open_inference import read_json
from service.inference.schemas import IndexEntry
from service.services import Services

router = APIRouter(prefix="/v2/repository", tags=["inference V2"])


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


_INDEX = _optional({"type": "object", "properties": {"ready": {"type": ["boolean", "null"]}}})
_CHANGE = _optional({"type": "object", "properties": {"parameters": {"type": ["object", "null"]}}})


@router.post("/index", openapi_extra=_INDEX)
async def index(request: Request, services: ServicesDep) -> list[IndexEntry]:
    """List the newest 100 versions of each model, 1,000 in all; with `{"ready": true}` only those that can be asked."""
    wanted = read_json(await request.body()).get("ready")
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidTensor("`ready` must be true or false", field="ready")
    entries = await asyncio.to_thread(_entries, services)
    return [entry for entry in entries if entry.state == "READY" or not wanted]


@router.post("/models/{name}/load", response_class=Response, openapi_extra=_CHANGE)
async def load(name: str, request: Request, services: ServicesDep) -> Response:
    """Load and verify what the model's alias means now; for the serving model, let it serve."""
    parameters = await _parameters(request)
    if any(key == "config" or key.startswith("file:") for key in parameters):
        raise InvalidTensor("models are published by training; a request brings none", field="parameters")
    await asyncio.to_thread(_load, services, name)
    return Response(status_code=200)


@router.post("/models/{name}/unload", response_class=Response, openapi_extra=_CHANGE)
async def unload(name: str, request: Request, services: ServicesDep) -> Response:
    """Let go of a model's versions in memory; 409 for the model that serves."""
    await _parameters(request)
    await asyncio.to_thread(manifest_of, services, name, None)
    if name == services.settings.model:
        raise Conflict("this model serves and cannot be unloaded; its versions change by promotion")
    services.predictor.evict(name)
    return Response(status_code=200)


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = read_json(await request.body()).get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidTensor("`parameters` must be an object", field="parameters")
    return parameters or {}


def _load(services: Services, name: str) -> None:
    if name != services.settings.model:
        manifest_of(services, name, None)
        services.predictor.evict(name)
        load_model(services, name)
        return
    services.predictor.refresh()
    if services.predictor.last_error:
        raise Unavailable(services.predictor.last_error)


def _entries(services: Services) -> list[IndexEntry]:
    return [_entry(services, name, number) for name, number in all_versions(services)]


def _entry(services: Services, name: str, number: int) -> IndexEntry:
    try:
        services.registry.manifest(name, number)
    except CorruptModel as error:
        return IndexEntry(name=name, version=str(number), state="UNAVAILABLE", reason=error.detail)
    return IndexEntry(name=name, version=str(number), state="READY", reason="")
