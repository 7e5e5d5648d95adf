"""The registry over HTTP: look at models and versions, promote and roll back."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from service.api.dependencies import NamePath, ServicesDep, VersionPath
from service.api.schemas import (
    AliasInfo,
    AliasStatus,
    CandidateStats,
    ModelInfo,
    Models,
    PromoteBody,
    RollBackBody,
    VersionInfo,
)
from service.errors import UnprocessableContent
from service.jobs.gate import load_decision
from service.registry.aliases import NAME, AliasEntry, Candidate, parse_candidate
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from service.schemas import MAX_VERSION
from service.services import Services

router = APIRouter(prefix="/models", tags=["models"])

_MOST = 100
LimitQuery = Annotated[int, Query(ge=1, le=_MOST, description="Most in one answer.")]

IfMatch = Annotated[
    str | None,
    Header(
        description="Change the alias only if it is at this generation.",
        json_schema_extra={"pattern": '^(W/)?"?[0-9]{1,9}"?$'},
    ),
]


VersionsQuery = Annotated[int, Query(alias="versions", ge=1, le=_MOST, description="Newest versions of each model.")]


@router.get("")
def list_models(
    services: ServicesDep,
    limit: LimitQuery = 20,
    after: Annotated[
        str | None, Query(pattern=f"^{NAME.pattern}$", description="The `next` of the page before.")
    ] = None,
    versions: VersionsQuery = 20,
) -> Models:
    """List models by name, with their aliases and their newest versions."""
    names = services.registry.models(limit + 1, after or "")
    shown = names[:limit]
    models = [_model(name, services.registry, versions) for name in shown]
    return Models(models=models, next=shown[-1] if len(names) > limit else None)


@router.get("/{name}")
def get_model(
    name: NamePath,
    services: ServicesDep,
    limit: LimitQuery = 50,
    after: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="The `next` of the page before.")] = None,
) -> ModelInfo:
    """Show a model: its aliases, and its versions, newest first."""
    return _model(name, services.registry, limit, after)


@router.get("/{name}/versions/{version}")
def get_version(name: NamePath, version: VersionPath, services: ServicesDep) -> VersionInfo:
    """Show a version: how it was made and how good it is."""
    manifest = services.registry.manifest(name, version)
    info = _version(manifest, services.registry.aliases(name), services.registry)
    info.files = services.registry.files(name, version)
    return info


@router.get("/{name}/aliases/{alias}")
def get_alias(name: NamePath, alias: NamePath, services: ServicesDep, response: Response) -> AliasStatus:
    """Show what an alias means, and how the trial of its candidate goes; the ETag is its generation."""
    state = services.registry.alias(name, alias)
    response.headers["ETag"] = f'"{state.generation}"'
    now = AliasStatus(**_alias(state).model_dump())
    if state.candidate and (name, alias) == (services.settings.model, services.settings.alias):
        if trial := services.predictor.rollout:
            figures = trial.stats()
            now.trial = CandidateStats(
                requests=figures.requests,
                compared=figures.compared,
                agreement=figures.agreement,
                dropped=figures.dropped,
            )
        now.trouble = services.predictor.candidate_error
    return now


@router.get("/{name}/aliases/{alias}/history")
def get_history(
    name: NamePath,
    alias: NamePath,
    services: ServicesDep,
    response: Response,
    limit: LimitQuery = 50,
    after: Annotated[int | None, Query(ge=1, le=10**10, description="The last generation of the page before.")] = None,
) -> list[AliasInfo]:
    """Show what an alias has meant, newest first; the header `Link` names the next page, if there is one."""
    states = services.registry.history(name, alias, limit + 1, after)
    shown = states[:limit]
    if len(states) > limit:
        response.headers["Link"] = f'<?limit={limit}&after={shown[-1].generation}>; rel="next"'
    return [_alias(state) for state in shown]


@router.put("/{name}/aliases/{alias}")
def put_alias(
    name: NamePath,
    alias: NamePath,
    body: PromoteBody,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> AliasInfo:
    """Promote a version, or roll back to one: the alias means it from now on, and requests are answered by it.

    With a `candidate`, that version is on trial from now on: as a shadow it reads along, as a canary it answers a
    share of the requests. Without one, a trial ends.
    """
    state = services.registry.promote(
        name,
        alias,
        body.version,
        candidate=_candidate(body),
        expected_generation=_generation(if_match),
        reason=body.reason,
        load=services.predictor.reload,
    )
    return _changed(state, services, response)


@router.post("/{name}/aliases/{alias}/rollback")
def roll_back(
    name: NamePath,
    alias: NamePath,
    services: ServicesDep,
    response: Response,
    body: RollBackBody | None = None,
    if_match: IfMatch = None,
) -> AliasInfo:
    """Go back to the version that the alias meant before the present one; a trial ends."""
    reason = (body or RollBackBody()).reason
    state = services.registry.roll_back(
        name, alias, expected_generation=_generation(if_match), reason=reason, load=services.predictor.reload
    )
    return _changed(state, services, response)


def _changed(state: AliasEntry, services: Services, response: Response) -> AliasInfo:
    services.predictor.refresh()
    response.headers["ETag"] = f'"{state.generation}"'
    return _alias(state)


def _candidate(body: PromoteBody) -> Candidate | None:
    if body.candidate is None:
        if body.share is not None or body.mode is not None:
            raise UnprocessableContent("a share and a mode need a candidate", field="candidate")
        return None
    return parse_candidate(body.candidate, body.share, body.mode or "shadow")


def _generation(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UnprocessableContent("If-Match must be the alias's generation, as its ETag gives it", field="If-Match")
    return int(text)


def _alias(state: AliasEntry) -> AliasInfo:
    trial = asdict(state.candidate) if state.candidate else {}
    return AliasInfo(
        alias=state.alias,
        version=state.version,
        generation=state.generation,
        since=state.since,
        reason=state.reason,
        candidate=trial.get("version"),
        share=trial.get("share"),
        mode=trial.get("mode"),
    )


def _model(name: str, registry: Registry, limit: int, after: int | None = None) -> ModelInfo:
    manifests, aliases = registry.newest(name, limit + 1, after), registry.aliases(name)
    shown = manifests[:limit]
    return ModelInfo(
        model=name,
        aliases=[_alias(state) for state in aliases],
        versions=[_version(manifest, aliases, registry) for manifest in shown],
        next=str(shown[-1].version) if shown and len(manifests) > limit else None,
    )


def _version(manifest: Manifest, aliases: list[AliasEntry], registry: Registry) -> VersionInfo:
    return VersionInfo(
        model=manifest.name,
        version=manifest.version,
        aliases=[state.alias for state in aliases if state.version == manifest.version],
        manifest=manifest.details,
        weights_bytes=registry.weights_bytes(manifest.name, manifest.version),
        verdict=load_decision(registry, manifest.name, manifest.version),
    )
