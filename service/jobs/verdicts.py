"""What the gate said of a version, kept beside it: `models/<name>/<version>/verdict.json`."""

import json
from typing import Any

from service.json_objects import read_object
from service.registry.registry import Registry


def keep_verdict(registry: Registry, name: str, version: int, verdict: dict[str, Any]) -> None:
    """Write it; judging again writes it again. Raises Unavailable."""
    registry.store.put(_key(registry, name, version), json.dumps(verdict).encode())


def read_verdict(registry: Registry, name: str, version: int) -> dict[str, Any] | None:
    """Read it; None for a version that no job has made, or whose verdict cannot be read. Raises Unavailable."""
    key = _key(registry, name, version)
    try:
        with registry.store.damaged.noting(key, ValueError):
            return read_object(registry.store.get(key))
    except (FileNotFoundError, ValueError):
        return None


def _key(registry: Registry, name: str, version: int) -> str:
    return f"{registry.folder(name, version)}/verdict.json"
