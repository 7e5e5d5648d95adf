"""Augmentation by other hands and pens: slanted, stretched, wobbling, bold or fine, blurred, and boxed as pictures are.

What a network sees in service has come through `preprocess`: the ink's longer side is the box, its centre of mass lies
in the middle. A deformation that leaves this undone teaches places and sizes that never occur, at the cost of what a
small network could learn instead. So each picture is deformed twice: first roughly, to see where its ink comes to lie,
then well, from where it must lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augment.geometry import BLOCK, Augment, DisplacementField, affine, bilinear_sample, elastic_field
from training.errors import ConfigError
from training.types import Floats
from training.vision.glyph import BOX_SIZE
from training.vision.input_spec import IMAGE_SIZE

_KINDS = 12
"""Blurs, and sizes of cells, that are made ready."""
_VISIBLE = 0.15
"""Ink, of 1 for full, that counts as a part of the box."""


def handwriting(
    side: int = IMAGE_SIZE,
    background: float = 0.0,
    *,
    max_degrees: float = 10.0,
    max_shear: float = 0.2,
    max_stretch: float = 0.15,
    alpha: float = 36.0,
    sigma: float = 4.5,
    min_box: float = BOX_SIZE - 1.0,
    max_box: float = BOX_SIZE + 0.5,
    max_shift: float = 0.75,
    bolder: float = 0.0,
    finer: float = 0.0,
    max_blur: float = 0.0,
    max_cell: float = 0.0,
    pens: float = 0.5,
) -> Augment:
    """Write each picture again: by another hand, with another pen for the share `pens` of them, in the usual box.

    Turned by up to `max_degrees`, slanted by up to `max_shear` columns a row, height and width stretched by up to
    `max_stretch`, and wobbling (see `elastic`) by a strength drawn between none and `alpha`. The ink's longer side
    becomes `min_box` to `max_box` pixels, its centre of mass lies within `max_shift` of the middle along both axes. A
    pen is `bolder` or `finer` by up to that much of a pixel on each side of the stroke, and seen blurred by up to
    `max_blur` pixels (of a Gaussian's deviation), or in cells of up to `max_cell` pixels.

    Raises ConfigError for options that make no picture.
    """
    if not 0 < min_box <= max_box:
        raise ConfigError(f"min_box must be above 0 and at most max_box, not {min_box}", field="augment_options")
    if sigma <= 0 or max_stretch >= 1 or max(bolder, finer, pens) > 1 or max(max_blur, max_cell) > side / 4:
        raise ConfigError(
            "sigma must be above 0, max_stretch below 1, bolder, finer and pens at most 1, blurs and cells a quarter "
            "of the picture",
            field="augment_options",
        )
    straight = affine(side, 0.0, max_degrees, (1 - max_stretch, 1 + max_stretch), max_shear)
    wobbling = elastic_field(side, alpha, sigma)
    kernels, full = _kernels(side, max_blur, max_cell), np.float32(1 - background)
    pixels = np.indices((side, side), np.float32).reshape(2, side * side)

    def field(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        moved = wobbling(count, rng)
        moved *= rng.random((count, 1, 1), np.float32)
        moved += straight(count, rng)
        return moved

    def augment(x: Floats, rng: np.random.Generator) -> Floats:
        deformed = np.empty_like(x)
        for start in range(0, len(x), BLOCK):
            ink = (x[start : start + BLOCK] - np.float32(background)) / full
            chosen = np.flatnonzero(rng.random(len(ink)) < pens)
            strokes = rng.uniform(-finer, bolder, (len(chosen), 1)).astype(np.float32)
            if bolder or finer:
                ink[chosen] = _with_pen(ink[chosen], strokes, side)
            ink = _boxed(ink, field, pixels, rng, (min_box, max_box), max_shift)
            if len(kernels):
                ink[chosen] = _seen_through(ink[chosen], kernels[rng.integers(len(kernels), size=len(chosen))], side)
            deformed[start : start + BLOCK] = ink * full + np.float32(background)
        return deformed

    return augment


def _boxed(
    ink: Floats,
    field: DisplacementField,
    pixels: NDArray[np.float32],
    rng: np.random.Generator,
    boxes: tuple[float, float],
    max_shift: float,
) -> Floats:
    """Deform rows of ink (n, side²) by a field, so that they come to lie in the box."""
    side = round(ink.shape[1] ** 0.5)
    moves = field(len(ink), rng)
    places = np.clip(np.rint(pixels + moves), 0, side - 1).astype(np.intp)
    flat = places[:, 0] * side + places[:, 1]
    rough = np.take_along_axis(ink, flat, axis=1).reshape(-1, side, side)
    visible = rough > _VISIBLE
    longest = np.maximum(_extent(visible.any(axis=2)), _extent(visible.any(axis=1)))
    zoom = (longest / rng.uniform(*boxes, len(ink)).astype(np.float32))[:, np.newaxis, np.newaxis]
    along = np.arange(side, dtype=np.float32)
    total = np.maximum(rough.sum(axis=(1, 2)), np.float32(1e-6))
    centre = np.stack([rough.sum(axis=2) @ along, rough.sum(axis=1) @ along]).T / total[:, np.newaxis]
    middle = side / 2 + rng.uniform(-max_shift, max_shift, (len(ink), 2, 1)).astype(np.float32)
    origins = (pixels - middle) * zoom + centre[:, :, np.newaxis] + moves
    return bilinear_sample(ink, origins.astype(np.float32, copy=False))


def _extent(inked: Any) -> NDArray[np.float32]:
    """Count from the first to the last True in each row, at least 1."""
    length = inked.shape[1]
    extent = length - inked[:, ::-1].argmax(axis=1) - inked.argmax(axis=1)
    extents: NDArray[np.float32] = np.where(inked.any(axis=1), extent, length).astype(np.float32)
    return extents


def _with_pen(ink: Floats, strokes: Floats, side: int) -> Floats:
    """Make strokes bolder (0 to 1) or finer (0 to −1): part of the way to the most or least ink beside."""
    pictures = ink.reshape(-1, side, side)
    most, least = (_of_neighbours(pictures, extreme).reshape(ink.shape) for extreme in (np.maximum, np.minimum))
    changed: Floats = ink + np.maximum(strokes, 0) * (most - ink) + np.minimum(strokes, 0) * (ink - least)
    return changed


def _of_neighbours(pictures: Floats, extreme: np.ufunc) -> Floats:
    """Take the extreme over each pixel and the four beside it."""
    across, down = pictures.copy(), pictures.copy()
    extreme(across[:, :, 1:], pictures[:, :, :-1], out=across[:, :, 1:])
    extreme(across[:, :, :-1], pictures[:, :, 1:], out=across[:, :, :-1])
    extreme(down[:, 1:], pictures[:, :-1], out=down[:, 1:])
    extreme(down[:, :-1], pictures[:, 1:], out=down[:, :-1])
    found: Floats = extreme(across, down)
    return found


def _kernels(side: int, max_blur: float, max_cell: float) -> NDArray[np.float32]:
    """Build the matrices (n, side, side) that blur, or coarsen, along one axis: as many of each kind as is asked for.

    Blurs are Gaussians of a deviation up to `max_blur`. Coarse pictures are means over cells of up to `max_cell`
    pixels, begun anywhere, and enlarged again, half of them smoothly and half as blocks.
    """
    places = np.arange(side)
    kernels = []
    if max_blur:
        apart = np.subtract.outer(places, places)
        kernels += [
            _rows_of_one(np.exp(-0.5 * np.square(apart / width))) for width in np.linspace(0.3, max_blur, _KINDS)
        ]
    if max_cell > 1:
        for cell in np.linspace(1.25, max_cell, _KINDS):
            for phase in np.arange(4) / 4:
                edges = (np.arange(-2, side // cell + 3) + phase) * cell - 0.5
                inside = np.minimum(edges[1:, np.newaxis], places + 0.5) - np.maximum(
                    edges[:-1, np.newaxis], places - 0.5
                )
                means = np.clip(inside, 0, 1) / cell
                away = np.abs(np.subtract.outer(places, (edges[1:] + edges[:-1]) / 2)) / cell
                kernels += [np.clip(1 - away, 0, 1) @ means, _rows_of_one(away < 0.5 + 1e-6) @ means]
    return np.array(kernels, np.float32).reshape(-1, side, side)


def _rows_of_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _seen_through(ink: Floats, kernels: NDArray[np.float32], side: int) -> Floats:
    """Send each row through its kernel, along rows and columns, and stretch the ink that is left to full strength."""
    seen = kernels @ ink.reshape(-1, side, side) @ kernels.transpose(0, 2, 1)
    strong: Floats = seen.reshape(ink.shape) / np.maximum(seen.max(axis=(1, 2)), np.float32(0.25))[:, np.newaxis]
    return strong
