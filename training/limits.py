"""Validation of settings: errors name the setting and the value received.

NumPy numbers are accepted and converted to Python numbers, so that configs can be written as JSON.
"""

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from training.errors import ConfigError

_LONGEST = 80


class Limit(NamedTuple):
    """The range of a numeric setting."""

    low: float
    high: float
    rule: str
    """Completes "must be …"."""
    whole: bool = False
    optional: bool = False
    """Whether the setting may be None."""


def shown(value: object) -> str:
    """Return the repr of a refused value, truncated."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return "so large a number"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def is_number(value: object, *, whole: bool = False) -> bool:
    """Return whether a value is a real number, or a whole one; booleans are not."""
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def validate_number(name: str, value: Any, limit: Limit, field: str | None = None) -> Any:
    """Return a number within its limits as a Python number. Raises ConfigError for `field`, by default the name."""
    if value is None and limit.optional:
        return None
    if not is_number(value, whole=limit.whole) or not limit.low <= value <= limit.high:
        kind = "a whole number " if limit.whole else ""
        cure = "; leave it out for the default" if value is None else ""
        raise ConfigError(f"{name} must be {kind}{limit.rule}, not {shown(value)}{cure}", field=field or name)
    if limit.whole:
        return operator.index(value)
    return value.item() if isinstance(value, np.generic) else value


def validate_bool(name: str, value: Any, field: str | None = None) -> bool:
    """Return a Python bool. Raises ConfigError for `field`, by default the name."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} must be true or false, not {shown(value)}", field=field or name)
    return bool(value)


def validate_fields(config: Any, limits: Mapping[str, Limit]) -> None:
    """Validate the numbers and booleans of a frozen dataclass, and convert them to Python types."""
    for name, limit in limits.items():
        object.__setattr__(config, name, validate_number(name, getattr(config, name), limit))
    for field in fields(config):
        if field.type in (bool, "bool"):
            object.__setattr__(config, field.name, validate_bool(field.name, getattr(config, field.name)))


def validate_whole_numbers(name: str, value: Any, low: int, wanted: str) -> tuple[int, ...]:
    """Return a list, tuple or array of whole numbers as a tuple. Raises ConfigError."""
    listed = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(listed, list | tuple) or not all(is_number(n, whole=True) and n >= low for n in listed):
        raise ConfigError(f"{name} must be {wanted}; got {shown(value)}", field=name)
    return tuple(operator.index(number) for number in listed)


_SHARE = Limit(0, 1, "from 0 to 1")
_BELOW_1 = Limit(0, math.nextafter(1, 0), "at least 0 and below 1")
_DEFORMATION = Limit(0, 1000, "from 0 to 1000")

OPTION_LIMITS: dict[str, Limit] = {
    "momentum": _BELOW_1,
    "beta1": _BELOW_1,
    "beta2": _BELOW_1,
    "decay": _BELOW_1,
    "epsilon": Limit(1e-12, 1, "from 1e-12 to 1"),
    "drops": Limit(0, 1000, "from 0 to 1000", whole=True),
    "cycles": Limit(1, 1000, "from 1 to 1000", whole=True),
    "growth": Limit(0.01, 100, "from 0.01 to 100"),
    "peak": Limit(0, 10, "from 0 to 10"),
} | dict.fromkeys(("factor", "final", "warm_up", "share", "rise", "start", "low"), _SHARE)
"""Limits of the numeric options of optimizers and schedules."""


def validate_options(field: str, options: Any, builder: Callable[..., Any] | None, owner: str) -> dict[str, Any]:
    """Validate options against the keyword-only parameters of a builder; return a copy.

    Raises ConfigError, which names the `owner` of the options.
    """
    parameters = inspect.signature(builder).parameters.values() if builder else ()
    known = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{field} must map names of options to values, not {shown(options)}", field=field)
    checked = {}
    for option, value in options.items():
        if option not in known:
            allowed = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigError(f"{owner} has no option {shown(option)}; {allowed}", field=field)
        if isinstance(known[option], bool):
            checked[option] = validate_bool(f"option {option}", value, field)
        else:
            limit = OPTION_LIMITS.get(option, _DEFORMATION)
            checked[option] = validate_number(f"option {option}", value, limit, field)
    return checked


def validate_class_weights(weights: Any) -> dict[int, float] | str:
    """Check class weights; JSON's keys are text."""
    if isinstance(weights, str) and weights == "balanced":
        return weights
    wanted = "class_weights must be 'balanced' or map class numbers to weights from 0 to 1000000"
    if not isinstance(weights, Mapping):
        raise ConfigError(f"{wanted}, not {shown(weights)}", field="class_weights")
    read = {}
    for label, weight in weights.items():
        number = int(label) if isinstance(label, str) and label.isdecimal() and len(label) < 10 else label
        if not is_number(number, whole=True) or number < 0 or not is_number(weight) or not 0 <= weight <= 1e6:
            raise ConfigError(f"{wanted}, not {shown(label)} to {shown(weight)}", field="class_weights")
        read[int(number)] = float(weight)
    return read


def hash_of(config: Any) -> int:
    """Hash a frozen dataclass by value, mappings as the set of their items."""
    values = (getattr(config, f.name) for f in fields(config))
    return hash(tuple(frozenset(value.items()) if isinstance(value, Mapping) else value for value in values))
