"""Dataclasses from stored JSON that this or another release has written."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from training.errors import ConfigError

T = TypeVar("T")


def restored(kind: type[T], stored: Any, what: str) -> T:
    """Build a dataclass from a mapping; fields that an older release did not write have their default.

    `what` names the values in errors. Raises ConfigError for unknown fields, which a newer release has written, and for
    missing ones without a default.
    """
    if not isinstance(stored, Mapping):
        raise ConfigError(f"{what} must be an object of names and values, not {type(stored).__name__}")
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    refuse_unknown(stored, known, what)
    absent = [
        name
        for name, field in known.items()
        if name not in stored and field.default is MISSING and field.default_factory is MISSING
    ]
    if absent:
        raise ConfigError(f"{what} lacks {', '.join(absent)}", field=absent[0])
    return kind(**stored)


def refuse_unknown(stored: Mapping[str, Any], known: Mapping[str, Any], what: str) -> None:
    """Raise ConfigError for values that a newer release has written."""
    unknown = sorted(map(str, set(stored) - set(known)))
    if unknown:
        raise ConfigError(
            f"{what} has {', '.join(unknown)}, which this release does not know: it was written by a newer release; "
            "update glyphserve to read it",
            field=unknown[0],
        )


def of_known_fields(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Build a dataclass for display, ignoring fields that only a newer release knows."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in stored.items() if name in known})
