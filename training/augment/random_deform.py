"""Augmentation: show each picture a little differently every time, so that the network learns digits and not pixels.

Each is a function `(x, rng) → x`: rows (n, side²) in, new rows of the same shape out, every row deformed by draws of
its own; labels stay, x is not touched. The table's entries build one from the picture's side, the number that stands
for an empty pixel, and the options that they name.

All of them ask one question, "where does this pixel come from?", and read the answer between the four pixels around
that place (see `warp`). Moves that are made together are therefore resampled, and blurred, only once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from training.augment.geometry import BLOCK, Augment, DisplacementField, affine, bilinear_sample, elastic_field
from training.augment.handwriting import handwriting
from training.errors import ConfigError
from training.limits import shown, validate_options
from training.types import Floats
from training.vision.input_spec import IMAGE_SIZE


def shift(side: int = IMAGE_SIZE, background: float = 0.0, *, max_shift: float = 2.0) -> Augment:
    """Move each picture by up to `max_shift` pixels along both axes."""
    return random_deform(side, background, **_STILL | {"max_shift": max_shift})


def rotate(side: int = IMAGE_SIZE, background: float = 0.0, *, max_degrees: float = 12.0) -> Augment:
    """Turn each picture about its centre by up to `max_degrees` either way."""
    return random_deform(side, background, **_STILL | {"max_degrees": max_degrees})


def scale(
    side: int = IMAGE_SIZE, background: float = 0.0, *, min_scale: float = 0.85, max_scale: float = 1.15
) -> Augment:
    """Enlarge each picture by a factor from `min_scale` to `max_scale`, height and width each by its own."""
    return random_deform(side, background, **_STILL | {"min_scale": min_scale, "max_scale": max_scale})


def shear(side: int = IMAGE_SIZE, background: float = 0.0, *, max_shear: float = 0.2) -> Augment:
    """Slant each picture like italics, by up to `max_shear` columns a row either way."""
    return random_deform(side, background, **_STILL | {"max_shear": max_shear})


def elastic(side: int = IMAGE_SIZE, background: float = 0.0, *, alpha: float = 34.0, sigma: float = 4.0) -> Augment:
    """Let each picture elastic_field like a hand's muscles (Simard, Steinkraus and Platt 2003).

    Every pixel is displaced by uniform noise from ±1, smoothed by a Gaussian of `sigma` pixels and multiplied by
    `alpha`; the defaults are the paper's, and move a pixel by 1.4 on average.
    """
    return random_deform(side, background, **_STILL | {"alpha": alpha, "sigma": sigma})


def random_deform(
    side: int = IMAGE_SIZE,
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
    """Shift, rotate, scale, shear and elastic_field in one; an option at 0, or scales of 1, leave that part out.

    Raises ConfigError for options that make no picture.
    """
    if not 0 < min_scale <= max_scale:
        raise ConfigError(
            f"min_scale must be above 0 and at most max_scale, not {min_scale} and {max_scale}", field="augment_options"
        )
    if sigma <= 0:
        raise ConfigError(f"sigma must be above 0, not {sigma}", field="augment_options")
    fields: list[DisplacementField] = []
    if max_shift or max_degrees or max_shear or (min_scale, max_scale) != (1, 1):
        fields.append(affine(side, max_shift, max_degrees, (min_scale, max_scale), max_shear))
    if alpha:
        fields.append(elastic_field(side, alpha, sigma))
    pixels = np.indices((side, side), np.float32).reshape(2, side * side)

    def augment(x: Floats, rng: np.random.Generator) -> Floats:
        deformed = np.empty_like(x)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK]
            origins = np.broadcast_to(pixels, (len(rows), *pixels.shape))
            for field in fields:
                origins = origins + field(len(rows), rng)
            deformed[start : start + BLOCK] = bilinear_sample(rows, origins, background)
        return deformed

    return augment


_STILL = {"max_shift": 0.0, "max_degrees": 0.0, "min_scale": 1.0, "max_scale": 1.0, "max_shear": 0.0, "alpha": 0.0}


AUGMENTATIONS: dict[str, Callable[..., Augment]] = {
    "shift": shift,
    "rotate": rotate,
    "scale": scale,
    "shear": shear,
    "elastic": elastic,
    "deform": random_deform,
    "handwriting": handwriting,
}


def make_augment(
    name: str, options: Mapping[str, Any], side: int = IMAGE_SIZE, background: float = 0.0
) -> Augment | None:
    """Build an augmentation from settings, None for `none`. Raises ConfigError that names what is wrong."""
    if name == "none":
        validate_options("augment_options", options, {}, "the augment none")
        return None
    if name not in AUGMENTATIONS:
        raise ConfigError(
            f"unknown augment {shown(name)}; choose one of none, {', '.join(AUGMENTATIONS)}", field="augment"
        )
    builder = AUGMENTATIONS[name]
    parameters = inspect.signature(builder).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return builder(side, background, **validate_options("augment_options", options, known, name))
