"""JSON objects as they are read back from a store: whatever the bytes are, the answer is an object or ValueError."""

import json
import math
from typing import Any

MOST_BYTES = 4 * 1024**2
"""Larger objects are refused: the largest that this service writes has a few hundred kilobytes."""
MOST_DEPTH = 64
_MOST_DIGITS = 20


def read_object(content: bytes) -> dict[str, Any]:
    """Parse one JSON object; NaN and numbers beyond a float become null.

    What is returned can be written as JSON again: it is at most 64 levels deep, and all its text can be encoded.
    Raises ValueError, whatever is wrong: too large, too deep, no object, no UTF-8, whole numbers of too many digits.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content):,} bytes; at most {MOST_BYTES:,} are read")
    try:
        found = json.loads(content, parse_constant=lambda _: None, parse_float=_finite, parse_int=_short)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError repeat parts of the content
        raise ValueError("it is not JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 -- the content is wrong, not the caller
    _check(found)
    return found


def _check(found: dict[str, Any]) -> None:
    """Look at every value, level by level."""
    level: list[Any] = [found]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                value.encode()  # raises UnicodeEncodeError, a ValueError, for half of a surrogate pair
        level = below
        if not level:
            return
    raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _short(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a whole number has too many digits")
    return int(text)
