"""What routes ask for by type."""

from typing import Annotated, cast

from fastapi import Depends, Request

from service.parts import Parts


def _parts(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


PartsDep = Annotated[Parts, Depends(_parts)]
RequestIdDep = Annotated[str, Depends(_request_id)]
