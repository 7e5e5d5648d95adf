"""From any gray picture of a glyph to the numbers that a network was trained on.

Training and serving both come through here, so that they cannot drift apart. A 28×28 picture in MNIST's form already
passes bit for bit; everything else is brought into that form the way LeCun's page describes it: ink fitted into a 20×20
box with its aspect kept, the box placed in 28×28 by its centre of mass. A picture of MNIST that was inverted, padded,
moved or enlarged pixel by pixel comes back as it was.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from training.deprecation import renamed
from training.errors import ConfigError, DataError
from training.limits import Limit, validate_number
from training.types import Floats, Pixels
from training.vision.foreground import extract_foreground
from training.vision.resize import resize

IMAGE_SIZE = 28
BOX_SIZE = 20
VERSION = 2
"""Counts changes of what `normalize_glyph` answers for any picture; part of every model's fingerprint."""
_COMPATIBLE = (1, VERSION)
"""Networks trained behind these may be used: what is in MNIST's form passes all of them unchanged."""


_FORM_LIMITS = {
    "side": Limit(1, IMAGE_SIZE, f"of at least 1 and at most {IMAGE_SIZE}", whole=True),
    "low": Limit(-1000, 1000, "from -1000 to 1000"),
    "high": Limit(-1000, 1000, "from -1000 to 1000"),
    "block": Limit(1, IMAGE_SIZE, f"of at least 1 and at most {IMAGE_SIZE}", whole=True),
}


@renamed(described="to_dict", features="to_features", spread="to_image", width="grid_size")
@dataclass(frozen=True)
class InputSpec:
    """What a network wants to be fed: the centre `side`×`side` pixels, scaled from 0 … 255 to `low` … `high`.

    With a `block` above 1 each number is the mean of block×block pixels: fewer numbers, and a faster network.
    """

    side: int = IMAGE_SIZE
    low: float = 0.0
    high: float = 1.0
    block: int = 1

    def __post_init__(self) -> None:
        """Check that there is such a form; whole numbers stay so, since they count in fingerprints."""
        for name, limit in _FORM_LIMITS.items():
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
        """How many numbers a row of pixels becomes; a picture becomes width²."""
        return self.side // self.block

    def to_dict(self) -> dict[str, Any]:
        """Give the form as JSON values; those that the first release did not know only where they matter.

        So the fingerprint of a form stays what it was when a field is added, and older releases read the form.
        """
        defaults = {field.name: field.default for field in fields(self)}
        first = ("side", "low", "high")
        return {name: value for name, value in asdict(self).items() if name in first or value != defaults[name]}

    def to_features(self, glyphs: Pixels) -> Floats:
        """Turn glyphs (n, 28, 28) into rows of float32, shape (n, width²)."""
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
        """Put numbers where the pixels lie that they stand for: (n, width²) → (n, 28, 28), 0 beyond the side."""
        squares = rows.reshape(-1, self.grid_size, self.grid_size).repeat(self.block, axis=1).repeat(self.block, axis=2)
        edge = (IMAGE_SIZE - self.side) // 2
        return np.pad(squares, ((0, 0), (edge, edge), (edge, edge)))


def preprocessing_id(form: InputSpec | None = None, version: int = VERSION) -> str:
    """Name this preprocessing: 12 hex digits that change when its code version or the input form does."""
    described = {"version": version, "side": IMAGE_SIZE, "box": BOX_SIZE, "form": (form or InputSpec()).to_dict()}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def is_compatible(name: object, form: InputSpec) -> bool:
    """Whether a network trained behind the preprocessing of this fingerprint reads what `normalize_glyph` answers."""
    return name in {preprocessing_id(form, version) for version in _COMPATIBLE}


def normalize_glyph(gray: np.ndarray) -> Pixels:
    """Bring one gray picture (height, width), uint8, of any size and polarity into MNIST's form: uint8 (28, 28).

    Raises DataError when there is nothing to see: a picture of one shade, or of no pixels.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise DataError(f"expected a gray picture (height, width) of uint8, got {gray.dtype} {gray.shape}")
    if gray.shape == (IMAGE_SIZE, IMAGE_SIZE):
        if is_mnist_like(gray):
            return gray
        if gray[0, 0] > 127 and is_mnist_like(inverted := 255 - gray):
            return inverted
    return _centred(_fitted(extract_foreground(gray)))


def is_mnist_like(gray: Pixels) -> bool:
    """Whether a 28×28 picture is in MNIST's form, or one of a set whose glyphs go from edge to edge."""
    return any(_fills_the_box(gray, faintest) for faintest in _FAINTEST) or _spans(gray)


def _spans(gray: Pixels) -> bool:
    """Whether light ink touches two opposite edges, on black paper: Fashion-MNIST and Kuzushiji-MNIST do so."""
    visible = gray >= _FAINTEST[1]
    across = (visible[0].any() and visible[-1].any()) or (visible[:, 0].any() and visible[:, -1].any())
    return bool(across) and float(np.median(_edge(gray))) == 0


def _edge(gray: Pixels) -> Pixels:
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])


def _fills_the_box(gray: Pixels, faintest: int) -> bool:
    """Whether the ink is as long as the box, or a little less, with its centre of mass in the middle."""
    ink = gray.astype(np.float32)
    if faintest > 1:
        ink[gray < faintest] = 0
    longest = 0
    for ink_by_place in (ink @ _ONES, _ONES @ ink):
        inked = ink_by_place.nonzero()[0]
        if not len(inked):
            return False
        total, moment = (ink_by_place @ _MOMENTS).tolist()
        if abs(moment - IMAGE_SIZE / 2 * total) >= total:
            return False
        longest = max(longest, int(inked[-1] - inked[0]) + 1)
    return BOX_SIZE - 2 <= longest <= BOX_SIZE


_FAINTEST = (1, 26, 64)
"""What is less is no ink: traces of compression, should the first try fail over them."""
_ONES = np.ones(IMAGE_SIZE, np.float32)
_MOMENTS = np.stack([_ONES, np.arange(IMAGE_SIZE, dtype=np.float32)], axis=1)


def _fitted(ink: Floats) -> Floats:
    """Resize so that the longer side is 20 pixels; what has 19 already is left as it is."""
    height, width = ink.shape
    longest = max(height, width)
    if longest in (BOX_SIZE - 1, BOX_SIZE):
        return ink
    scale = BOX_SIZE / longest
    return resize(ink, max(1, round(height * scale)), max(1, round(width * scale)))


def _centred(ink: Floats) -> Pixels:
    """Place the box in 28×28 so that its centre of mass is as near as can be to pixel (14, 14), as all of MNIST is."""
    height, width = ink.shape
    total, row = (np.add.reduce(ink, axis=1) @ _MOMENTS[:height]).tolist()
    column = float(np.add.reduce(ink, axis=0) @ _MOMENTS[:width, 1])
    top = min(max(round(IMAGE_SIZE / 2 - row / total), 0), IMAGE_SIZE - height)
    left = min(max(round(IMAGE_SIZE / 2 - column / total), 0), IMAGE_SIZE - width)
    glyph = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    glyph[top : top + height, left : left + width] = np.rint(ink)  # from 0 to 255, as ink is found and averaged
    return glyph
