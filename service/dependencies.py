"""What routes ask for by type."""

from typing import Annotated, cast

from fastapi import Depends, Request

from service.cross_origin import SAFE_METHODS
from service.errors import UnsupportedMediaType
from service.parts import Parts


def _parts(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


async def require_json(request: Request) -> None:
    """Raise UnsupportedMediaType for a body of another kind, an empty one included: no form counts as defaults."""
    if request.method in SAFE_METHODS:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    if kind or await request.body():
        raise UnsupportedMediaType("the body must be JSON; send it with Content-Type: application/json")


PartsDep = Annotated[Parts, Depends(_parts)]
RequestIdDep = Annotated[str, Depends(_request_id)]
