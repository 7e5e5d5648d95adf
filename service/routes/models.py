"""The registry over HTTP: look at models and versions, promote and roll back."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from service.dependencies import PartsDep
from service.errors import InvalidInput
from service.registry import AliasState, Manifest
from service.schemas import MAX_VERSION, AliasInfo, ModelInfo, Models, PromoteBody, VersionInfo

router = APIRouter(prefix="/models", tags=["models"])

VersionPath = Annotated[int, Path(ge=1, le=MAX_VERSION)]


@router.get("")
def list_models(parts: PartsDep) -> Models:
    """List all models with their aliases and versions."""
    return Models(models=[get_model(name, parts) for name in parts.registry.models()])


@router.get("/{name}")
def get_model(name: str, parts: PartsDep) -> ModelInfo:
    """Show a model: its aliases, and its versions, newest first."""
    versions, aliases = parts.registry.versions(name), parts.registry.aliases(name)
    infos = [_version(manifest, aliases) for manifest in reversed(versions)]
    return ModelInfo(model=name, aliases=[_alias(state) for state in aliases], versions=infos)


@router.get("/{name}/versions/{version}")
def get_version(name: str, version: VersionPath, parts: PartsDep) -> VersionInfo:
    """Show a version: how it was made and how good it is."""
    return _version(parts.registry.manifest(name, version), parts.registry.aliases(name))


@router.get(
    "/{name}/versions/{version}/weights.npz",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_weights(name: str, version: VersionPath, parts: PartsDep) -> Response:
    """Download a version's weights; `training.load` reads them, and so does NumPy alone."""
    manifest = parts.registry.manifest(name, version)
    headers = {"ETag": f'"{manifest.weights_sha256}"'}
    return Response(parts.registry.weights(manifest), media_type="application/octet-stream", headers=headers)


@router.get("/{name}/aliases/{alias}")
def get_alias(name: str, alias: str, parts: PartsDep, response: Response) -> AliasInfo:
    """Show what an alias means; the ETag is its generation."""
    state = parts.registry.alias(name, alias)
    response.headers["ETag"] = f'"{state.generation}"'
    return _alias(state)


@router.get("/{name}/aliases/{alias}/history")
def get_history(name: str, alias: str, parts: PartsDep) -> list[AliasInfo]:
    """Show all that an alias has meant, newest first."""
    return [_alias(state) for state in parts.registry.history(name, alias)]


@router.put("/{name}/aliases/{alias}")
def put_alias(
    name: str,
    alias: str,
    body: PromoteBody,
    parts: PartsDep,
    response: Response,
    if_match: Annotated[str | None, Header(description="Promote only if the alias is at this generation.")] = None,
) -> AliasInfo:
    """Promote a version, or roll back to one: the alias means it from now on, and requests are answered by it."""
    state = parts.registry.promote(
        name, alias, body.version, expected_generation=_generation(if_match), reason=body.reason
    )
    parts.predictor.follow()
    response.headers["ETag"] = f'"{state.generation}"'
    return _alias(state)


def _generation(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput("If-Match must be the alias's generation, as its ETag gives it", field="If-Match")
    return int(text)


def _alias(state: AliasState) -> AliasInfo:
    return AliasInfo(**asdict(state))


def _version(manifest: Manifest, aliases: list[AliasState]) -> VersionInfo:
    meaning = [state.alias for state in aliases if state.version == manifest.version]
    return VersionInfo(model=manifest.name, version=manifest.version, aliases=meaning, manifest=manifest.details)
