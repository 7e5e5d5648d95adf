"""Former names of attributes, which keep working for one release."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def renamed(**names: str) -> Callable[[type[T]], type[T]]:
    """Decorate a class whose attributes were renamed: the old names (keywords) return the new ones, with a warning."""

    def decorate(kind: type[T]) -> type[T]:
        for old, new in names.items():
            setattr(kind, old, property(_former(kind.__name__, old, new)))
        return kind

    return decorate


def _former(owner: str, old: str, new: str) -> Callable[[Any], Any]:
    def get(self: Any) -> Any:
        warnings.warn(f"{owner}.{old} is deprecated; use {owner}.{new}", DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    return get


def former(module: str, name: str, names: dict[str, Any]) -> Any:
    """Return what a module exported under a former name, for its `__getattr__`. Raises AttributeError for others."""
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new = names[name]
    warnings.warn(f"{module}.{name} is deprecated; use {module}.{new.__name__}", DeprecationWarning, stacklevel=3)
    return new


def renamed_argument(old: str, new: str, value: Any) -> Any:
    """Return the value of an argument that was given by its former name, with a warning."""
    warnings.warn(f"{old} is deprecated; use {new}", DeprecationWarning, stacklevel=3)
    return value
