"""What an API process tells its siblings, and hears from them; nothing where there is only one."""

import asyncio
from typing import Any

from service.errors import Unavailable
from service.parts import Parts

PUBLISH_SECONDS = 0.5
"""How often a process writes its page: what it counted since is lost if it is killed."""


def publish(parts: Parts) -> None:
    """Write this process's page, if there is anybody to read it."""
    if parts.siblings:
        parts.siblings.publish({"state": state(parts), **parts.metrics.page()})


async def keep_publishing(parts: Parts) -> None:
    """Publish for ever, where there are siblings."""
    while parts.siblings:
        publish(parts)
        await asyncio.sleep(PUBLISH_SECONDS)


def state(parts: Parts) -> dict[str, Any]:
    """Tell how this process is."""
    place = parts.siblings.place if parts.siblings else 0
    ready, version = True, None
    try:
        version = parts.predictor.serving.version
        parts.answering()
    except Unavailable:
        ready = False
    return {"process": place, "ready": ready, "version": version, "trouble": parts.predictor.last_error}


def states(parts: Parts) -> list[dict[str, Any]]:
    """Tell how each process of the host is, this one first; one that is gone is not ready."""
    others = parts.siblings.others() if parts.siblings else []
    return [state(parts), *(page["state"] | ({} if page["is_alive"] else {"ready": False}) for page in others)]
