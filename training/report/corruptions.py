"""Image corruptions of increasing strength: noise, blur, shift, rotation.

Each is a function `(images, level, rng) → images` of uint8 (n, 28, 28).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from training.augment.geometry import bilinear_sample
from training.types import Floats, Pixels
from training.vision.input_spec import IMAGE_SIZE

_PIXELS = np.indices((IMAGE_SIZE, IMAGE_SIZE), np.float32).reshape(1, 2, IMAGE_SIZE * IMAGE_SIZE)
_BLOCK = 1000


class Corruption(NamedTuple):
    """A corruption, its levels and their unit."""

    function: Callable[[Pixels, float, np.random.Generator], Pixels]
    levels: tuple[float, ...]
    unit: str


def gaussian_noise(images: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise with a standard deviation of `level` of 255 gray values."""
    return _pixels(images.astype(np.float32) + rng.normal(0, level, images.shape).astype(np.float32))


def gaussian_blur(images: Pixels, level: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001 -- signature shared by all entries
    """Blur by a Gaussian with a standard deviation of `level` pixels."""
    distance = np.subtract.outer(np.arange(IMAGE_SIZE), np.arange(IMAGE_SIZE))
    bell = np.exp(-0.5 * np.square(distance / level))
    bell = (bell / bell[IMAGE_SIZE // 2].sum()).astype(np.float32)
    return _pixels(np.asarray(bell @ images.astype(np.float32) @ bell, np.float32))


def shift(images: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Shift each image by `level` pixels in a random direction."""
    angle = rng.uniform(0, 2 * np.pi, len(images))
    moves = level * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return _resample(images, lambda rows: _PIXELS - moves[rows, :, np.newaxis].astype(np.float32))


def rotate(images: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Rotate each image about its centre by `level` degrees in a random direction."""
    angle = np.deg2rad(level) * rng.choice((-1.0, 1.0), len(images))
    middle = np.float32((IMAGE_SIZE - 1) / 2)
    matrices = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return _resample(images, lambda rows: matrices[rows].astype(np.float32) @ (_PIXELS[0] - middle) + middle)


def _resample(images: Pixels, origins: Callable[[slice], Floats]) -> Pixels:
    corrupted = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x = images[rows].reshape(-1, IMAGE_SIZE * IMAGE_SIZE).astype(np.float32)
        corrupted[rows] = _pixels(bilinear_sample(x, origins(rows))).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return corrupted


def _pixels(values: Floats) -> Pixels:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(gaussian_noise, (16, 32, 64, 96, 128), "gray values of 255"),
    "blur": Corruption(gaussian_blur, (0.5, 1.0, 1.5, 2.0), "pixels"),
    "shift": Corruption(shift, (1, 2, 3, 4), "pixels"),
    "turn": Corruption(rotate, (5, 10, 15, 20, 30), "degrees"),
}
