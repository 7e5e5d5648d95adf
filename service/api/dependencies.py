"""FastAPI dependencies and parameters that several routes share."""

from typing import Annotated, cast

from fastapi import Depends, Path, Request

from service.api.auth import SAFE_METHODS
from service.errors import UnsupportedMediaType
from service.registry.aliases import NAME
from service.schemas import MAX_VERSION
from service.services import Services


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


async def require_json(request: Request) -> None:
    """Raise UnsupportedMediaType unless the body is JSON. An empty form is rejected too: it would mean defaults."""
    if request.method in SAFE_METHODS:
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return
    if media_type or await request.body():
        raise UnsupportedMediaType("the body must be JSON; send it with Content-Type: application/json")


ServicesDep = Annotated[Services, Depends(_services)]
RequestIdDep = Annotated[str, Depends(_request_id)]
# The pattern is documented here and checked by the registry, whose error message explains it.
NamePath = Annotated[str, Path(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]
VersionPath = Annotated[int, Path(ge=1, le=MAX_VERSION)]
