"""What a network takes as input: which pixels of a glyph, and how they are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from training.deprecation import renamed
from training.errors import ConfigError, DataError
from training.limits import Limit, shown, validate_number
from training.types import Floats, Pixels

IMAGE_SIZE = 28
"""Height and width of glyphs."""

_LIMITS = {
    "side": Limit(1, IMAGE_SIZE, f"of at least 1 and at most {IMAGE_SIZE}", whole=True),
    "low": Limit(-1000, 1000, "from -1000 to 1000"),
    "high": Limit(-1000, 1000, "from -1000 to 1000"),
    "block": Limit(1, IMAGE_SIZE, f"of at least 1 and at most {IMAGE_SIZE}", whole=True),
}


@renamed(described="to_dict", features="to_features", spread="to_image", width="grid_size")
@dataclass(frozen=True)
class InputSpec:
    """The central `side`×`side` pixels of a glyph, scaled from 0 … 255 to `low` … `high`.

    With a `block` above 1, each number is the mean of block×block pixels, which makes networks smaller and faster.
    """

    side: int = IMAGE_SIZE
    low: float = 0.0
    high: float = 1.0
    block: int = 1

    def __post_init__(self) -> None:
        """Validate the fields. Whole numbers stay whole, since they are part of `preprocessing_id`."""
        for name, limit in _LIMITS.items():
            value = validate_number(f"the input's {name}", getattr(self, name), limit, field="input")
            object.__setattr__(self, name, value)
        if (IMAGE_SIZE - self.side) % 2:
            raise ConfigError(f"the input's side must be an even number of pixels, not {self.side}", field="input")
        if self.side % self.block:
            raise ConfigError(
                f"the input's block must divide its side, {self.side} pixels, not {self.block}", field="input"
            )
        if self.low == self.high:
            raise ConfigError(f"the input's low and high must differ, both are {self.low}", field="input")

    @property
    def grid_size(self) -> int:
        """Numbers per row of pixels; a glyph becomes grid_size² numbers."""
        return self.side // self.block

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values. Fields that were added later are left out if they have their default.

        So `preprocessing_id` does not change when a field is added, and older releases can read it.
        """
        defaults = {field.name: field.default for field in fields(self)}
        first = ("side", "low", "high")
        return {name: value for name, value in asdict(self).items() if name in first or value != defaults[name]}

    def to_features(self, glyphs: Pixels) -> Floats:
        """Turn glyphs (n, 28, 28) into rows of float32, shape (n, grid_size²)."""
        if glyphs.ndim != 3 or glyphs.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
            raise DataError(f"expected glyphs of shape (n, {IMAGE_SIZE}, {IMAGE_SIZE}), got {glyphs.shape}")
        edge = (IMAGE_SIZE - self.side) // 2
        centre = glyphs[:, edge : edge + self.side, edge : edge + self.side]
        if self.block == 1:
            features = centre.reshape(len(glyphs), self.grid_size**2).astype(np.float32)
        else:
            blocks = centre.reshape(len(glyphs), self.grid_size, self.block, self.grid_size, self.block)
            features = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(glyphs), self.grid_size**2)
        features *= (self.high - self.low) / 255
        if self.low:
            features += self.low
        return features

    def to_image(self, rows: Floats) -> Floats:
        """Lay rows (n, grid_size²) out as images (n, 28, 28), with 0 outside the crop."""
        squares = rows.reshape(-1, self.grid_size, self.grid_size).repeat(self.block, axis=1).repeat(self.block, axis=2)
        edge = (IMAGE_SIZE - self.side) // 2
        return np.pad(squares, ((0, 0), (edge, edge), (edge, edge)))


def as_input_spec(given: Any) -> InputSpec:
    """Return an InputSpec, also from a mapping of its fields. Raises ConfigError."""
    known = [field.name for field in fields(InputSpec)]
    if isinstance(given, Mapping):
        if unknown := sorted(map(str, set(given) - set(known))):
            raise ConfigError(f"input takes {', '.join(known)}, not {', '.join(unknown)}", field="input")
        return InputSpec(**given)
    if not isinstance(given, InputSpec):
        raise ConfigError(f"input must map some of {', '.join(known)} to numbers, not {shown(given)}", field="input")
    return given
