"""Augmentation: show each picture a little differently every time, so that the network learns digits and not pixels.

Each is a function `(x, rng) → x`: rows (n, side²) in, new rows of the same shape out, every row deformed by draws of
its own; labels stay, x is not touched. The table's entries build one from the picture's side, the number that stands
for an empty pixel, and the options that they name.

All of them ask one question, "where does this pixel come from?", and read the answer between the four pixels around
that place. Moves that are made together are therefore resampled, and blurred, only once.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats
from training.errors import ConfigError
from training.preprocess import SIDE

Augment = Callable[[Floats, np.random.Generator], Floats]
"""A batch of inputs (n, features) → the same deformed."""

Field = Callable[[int, np.random.Generator], NDArray[np.float32]]
"""How far each pixel's origin lies from it: (n, rng) → rows and columns, float32 (n, 2, side²)."""


BLOCK = 128
"""Rows that are deformed at a time: their coordinates stay in the CPU's cache."""


def shift(side: int = SIDE, background: float = 0.0, *, max_shift: float = 2.0) -> Augment:
    """Move each picture by up to `max_shift` pixels along both axes."""
    return deform(side, background, **_STILL | {"max_shift": max_shift})


def rotate(side: int = SIDE, background: float = 0.0, *, max_degrees: float = 12.0) -> Augment:
    """Turn each picture about its centre by up to `max_degrees` either way."""
    return deform(side, background, **_STILL | {"max_degrees": max_degrees})


def scale(side: int = SIDE, background: float = 0.0, *, min_scale: float = 0.85, max_scale: float = 1.15) -> Augment:
    """Enlarge each picture by a factor from `min_scale` to `max_scale`, height and width each by its own."""
    return deform(side, background, **_STILL | {"min_scale": min_scale, "max_scale": max_scale})


def shear(side: int = SIDE, background: float = 0.0, *, max_shear: float = 0.2) -> Augment:
    """Slant each picture like italics, by up to `max_shear` columns a row either way."""
    return deform(side, background, **_STILL | {"max_shear": max_shear})


def elastic(side: int = SIDE, background: float = 0.0, *, alpha: float = 34.0, sigma: float = 4.0) -> Augment:
    """Let each picture wobble like a hand's muscles (Simard, Steinkraus and Platt 2003).

    Every pixel is displaced by uniform noise from ±1, smoothed by a Gaussian of `sigma` pixels and multiplied by
    `alpha`; the defaults are the paper's, and move a pixel by 1.4 on average.
    """
    return deform(side, background, **_STILL | {"alpha": alpha, "sigma": sigma})


def deform(
    side: int = SIDE,
    background: float = 0.0,
    *,
    max_shift: float = 1.0,
    max_degrees: float = 10.0,
    min_scale: float = 0.9,
    max_scale: float = 1.1,
    max_shear: float = 0.1,
    alpha: float = 20.0,
    sigma: float = 4.0,
) -> Augment:
    """Shift, rotate, scale, shear and wobble in one; an option at 0, or scales of 1, leave that part out.

    Raises ConfigError for options that make no picture.
    """
    if not 0 < min_scale <= max_scale:
        raise ConfigError(
            f"min_scale must be above 0 and at most max_scale, not {min_scale} and {max_scale}", field="augment_options"
        )
    if sigma <= 0:
        raise ConfigError(f"sigma must be above 0, not {sigma}", field="augment_options")
    fields: list[Field] = []
    if max_shift or max_degrees or max_shear or (min_scale, max_scale) != (1, 1):
        fields.append(_affine(side, max_shift, max_degrees, (min_scale, max_scale), max_shear))
    if alpha:
        fields.append(_wobble(side, alpha, sigma))
    pixels = np.indices((side, side), np.float32).reshape(2, side * side)

    def augment(x: Floats, rng: np.random.Generator) -> Floats:
        deformed = np.empty_like(x)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK]
            origins = np.broadcast_to(pixels, (len(rows), *pixels.shape))
            for field in fields:
                origins = origins + field(len(rows), rng)
            deformed[start : start + BLOCK] = resample(rows, origins, background)
        return deformed

    return augment


_STILL = {"max_shift": 0.0, "max_degrees": 0.0, "min_scale": 1.0, "max_scale": 1.0, "max_shear": 0.0, "alpha": 0.0}


def _affine(side: int, max_shift: float, max_degrees: float, scales: tuple[float, float], max_shear: float) -> Field:
    """Build the field of straight moves: about the picture's centre, each origin is a linear function of the pixel."""
    centred = np.indices((side, side), np.float32).reshape(2, side * side) - np.float32((side - 1) / 2)
    grid = np.vstack([centred, np.ones_like(centred[:1])])

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        turn, slant = rng.uniform(-1, 1, (2, count)) * [[np.deg2rad(max_degrees)], [max_shear]]
        height, width = rng.uniform(*scales, (2, count))
        cosine, sine = np.cos(turn), np.sin(turn)
        # Rotate, then slant, then shrink: where a pixel comes from is the inverse of where the picture goes.
        moves = np.empty((count, 2, 3), np.float32)
        moves[:, 0, 0], moves[:, 0, 1] = cosine / height - 1, sine / height
        moves[:, 1, 0], moves[:, 1, 1] = (slant * cosine - sine) / width, (slant * sine + cosine) / width - 1
        moves[:, :, 2] = rng.uniform(-max_shift, max_shift, (count, 2))
        moved: NDArray[np.float32] = moves.reshape(2 * count, 3) @ grid
        return moved.reshape(count, 2, side * side)

    return field


def _wobble(side: int, alpha: float, sigma: float) -> Field:
    """Build the elastic field: noise, smoothed along rows and columns by one matrix product each."""
    distance = np.subtract.outer(np.arange(side), np.arange(side))
    bell = np.exp(-0.5 * np.square(np.arange(-4 * side, 4 * side + 1) / sigma)).sum()
    smooth = (np.exp(-0.5 * np.square(distance / sigma)) / bell).astype(np.float32)
    rows, columns = np.float32(2 * alpha) * smooth, smooth

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        noise = rng.random((count, 2, side, side), np.float32)
        noise -= np.float32(0.5)
        displaced: NDArray[np.float32] = rows @ (noise @ columns)
        return displaced.reshape(count, 2, side * side)

    return field


def resample(x: Floats, origins: NDArray[np.float32], background: float = 0.0) -> Floats:
    """Read rows x (n, side²) at `origins` (n, 2, side²), rows and columns in pixels, by bilinear interpolation.

    Outside the picture everything is `background`. Whole-numbered origins give back exact pixels.
    """
    side = round(x.shape[1] ** 0.5)
    width = side + 2  # a frame of background: whatever falls off the picture lands on it
    framed = np.full((len(x), width, width), background, x.dtype)
    framed[:, 1:-1, 1:-1] = x.reshape(-1, side, side)
    places = np.clip(origins + np.float32(1), 0, np.nextafter(np.float32(side + 1), np.float32(0)))
    corners = places.astype(np.int32)
    places -= corners
    down, right = places[:, 0], places[:, 1]
    corner = corners[:, 0].astype(np.intp)
    corner *= width
    corner += corners[:, 1]
    corner += np.arange(0, framed.size, width * width)[:, np.newaxis]
    flat = framed.reshape(-1)

    def at(offset: int) -> Floats:
        pixel: Floats = np.take(flat[offset:], corner, mode="clip")
        return pixel

    above: Floats = at(0)
    below: Floats = at(width)
    above += right * (at(1) - above)
    below += right * (at(width + 1) - below)
    below -= above
    below *= down
    above += below
    return above


AUGMENTATIONS: dict[str, Callable[..., Augment]] = {
    "shift": shift,
    "rotate": rotate,
    "scale": scale,
    "shear": shear,
    "elastic": elastic,
    "deform": deform,
}


def make_augment(name: str, options: Mapping[str, Any], side: int = SIDE, background: float = 0.0) -> Augment | None:
    """Build an augmentation from settings, None for `none`. Raises ConfigError that names what is wrong."""
    if name == "none" and not options:
        return None
    if name not in AUGMENTATIONS:
        raise ConfigError(f"unknown augment {name!r}; choose one of none, {', '.join(AUGMENTATIONS)}", field="augment")
    builder = AUGMENTATIONS[name]
    known = [p.name for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"{name} takes {', '.join(known)}, not {option!r}", field="augment_options")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000:
            raise ConfigError(f"option {option} must be from 0 to 1000, not {value!r}", field="augment_options")
    return builder(side, background, **options)
