"""Overrides of recipe settings from the command line: NAME=VALUE, or one JSON object."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from training.errors import ConfigError


def parse_overrides(
    changes: Sequence[str], text: str | None = None, *, data: str | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Merge all overrides; options override NAME=VALUE, which overrides the JSON object.

    Raises ConfigError for text that cannot be parsed. `Recipe.replace` validates the values.
    """
    settings: dict[str, Any] = {}
    if text:
        try:
            settings = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--settings is not JSON: {error}", field="settings") from None
        if not isinstance(settings, dict):
            raise ConfigError("--settings must be a JSON object", field="settings")
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"--set takes NAME=VALUE, not {change!r}", field=name)
        settings[name] = _value(value)
    return settings | ({"data": data} if data else {}) | ({} if seed is None else {"seed": seed})


def _value(text: str) -> Any:
    """Parse a value: JSON, else a list if there are commas, else a string."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    with contextlib.suppress(ValueError):
        return json.loads(f"[{text}]") if "," in text else text
    return text
