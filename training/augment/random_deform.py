"""Augmentation: random deformations of the training images, different in each epoch.

An augmentation is a function `(x, rng) → x` of rows (n, side²) that returns new rows, each deformed by its own random
draws. The entries of AUGMENTATIONS build one from the side of the images, the value of background pixels, and their
options. All are sums of displacement fields; see `geometry`.
"""

from __future__ import annotations

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
    """Shift each image by up to `max_shift` pixels along both axes."""
    return random_deform(side, background, **_IDENTITY | {"max_shift": max_shift})


def rotate(side: int = IMAGE_SIZE, background: float = 0.0, *, max_degrees: float = 12.0) -> Augment:
    """Rotate each image about its centre by up to `max_degrees` in either direction."""
    return random_deform(side, background, **_IDENTITY | {"max_degrees": max_degrees})


def scale(
    side: int = IMAGE_SIZE, background: float = 0.0, *, min_scale: float = 0.85, max_scale: float = 1.15
) -> Augment:
    """Scale height and width of each image by two factors between `min_scale` and `max_scale`."""
    return random_deform(side, background, **_IDENTITY | {"min_scale": min_scale, "max_scale": max_scale})


def shear(side: int = IMAGE_SIZE, background: float = 0.0, *, max_shear: float = 0.2) -> Augment:
    """Shear each image horizontally by up to `max_shear` columns per row in either direction."""
    return random_deform(side, background, **_IDENTITY | {"max_shear": max_shear})


def elastic(side: int = IMAGE_SIZE, background: float = 0.0, *, alpha: float = 34.0, sigma: float = 4.0) -> Augment:
    """Elastic deformation (Simard, Steinkraus and Platt 2003).

    Each pixel is displaced by uniform noise in ±1, smoothed by a Gaussian of `sigma` pixels and multiplied by `alpha`.
    The defaults are the paper's and move pixels by 1.4 on average.
    """
    return random_deform(side, background, **_IDENTITY | {"alpha": alpha, "sigma": sigma})


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
    """Shift, rotation, scaling, shear and elastic deformation in one; 0, or scales of 1, disable a part.

    Raises ConfigError for invalid options.
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


_IDENTITY = {"max_shift": 0.0, "max_degrees": 0.0, "min_scale": 1.0, "max_scale": 1.0, "max_shear": 0.0, "alpha": 0.0}


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
    """Build an augmentation from settings, None for `none`. Raises ConfigError for an unknown name or option."""
    if name == "none":
        validate_options("augment_options", options, None, "the augment none")
        return None
    if name not in AUGMENTATIONS:
        raise ConfigError(
            f"unknown augment {shown(name)}; choose one of none, {', '.join(AUGMENTATIONS)}", field="augment"
        )
    builder = AUGMENTATIONS[name]
    return builder(side, background, **validate_options("augment_options", options, builder, name))
