"""Augmentation for handwriting: deformation, stroke width, blur and pixelation of normalised glyphs.

In service, `normalize_glyph` scales the ink to a box and centres its mass. A deformation without that step would train
positions and sizes that never occur. So each image is deformed twice: first to the nearest pixel, to measure where its
ink ends up, and then with interpolation and the correction.
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
"""Number of different blurs and cell sizes."""
_VISIBLE = 0.15
"""Ink, from 0 to 1, above which a pixel counts as part of the glyph's bounding box."""


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
    """Randomly deform each image, and vary its stroke width, blur and resolution with probability `pens`.

    Images are rotated by up to `max_degrees`, sheared by up to `max_shear` columns per row, stretched by up to
    `max_stretch` along each axis, and elastically deformed (see `elastic`) with a strength between 0 and `alpha`. The
    longer side of the ink becomes `min_box` to `max_box` pixels, and its centre of mass is within `max_shift` of the
    image centre along each axis. Strokes are dilated by up to `bolder` or eroded by up to `finer` pixels on each side,
    blurred by a Gaussian of up to `max_blur` pixels, or pixelated into cells of up to `max_cell` pixels.

    Raises ConfigError for invalid options.
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
            selected = np.flatnonzero(rng.random(len(ink)) < pens)
            strokes = rng.uniform(-finer, bolder, (len(selected), 1)).astype(np.float32)
            if bolder or finer:
                ink[selected] = _change_stroke_width(ink[selected], strokes, side)
            ink = _deform_and_normalize(ink, field, pixels, rng, (min_box, max_box), max_shift)
            if len(kernels):
                ink[selected] = _apply_kernels(
                    ink[selected], kernels[rng.integers(len(kernels), size=len(selected))], side
                )
            deformed[start : start + BLOCK] = ink * full + np.float32(background)
        return deformed

    return augment


def _deform_and_normalize(
    ink: Floats,
    field: DisplacementField,
    pixels: NDArray[np.float32],
    rng: np.random.Generator,
    boxes: tuple[float, float],
    max_shift: float,
) -> Floats:
    """Deform ink (n, side²) by a field, then scale and centre it like a glyph."""
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
    """Return the distance from the first to the last True of each row, at least 1."""
    length = inked.shape[1]
    extent = length - inked[:, ::-1].argmax(axis=1) - inked.argmax(axis=1)
    extents: NDArray[np.float32] = np.where(inked.any(axis=1), extent, length).astype(np.float32)
    return extents


def _change_stroke_width(ink: Floats, strokes: Floats, side: int) -> Floats:
    """Dilate (0 to 1) or erode (0 to −1) strokes, by interpolation with the full dilation or erosion."""
    pictures = ink.reshape(-1, side, side)
    most, least = (_of_neighbours(pictures, extreme).reshape(ink.shape) for extreme in (np.maximum, np.minimum))
    changed: Floats = ink + np.maximum(strokes, 0) * (most - ink) + np.minimum(strokes, 0) * (ink - least)
    return changed


def _of_neighbours(pictures: Floats, extreme: np.ufunc) -> Floats:
    """Maximum or minimum over each pixel and its four neighbours."""
    across, down = pictures.copy(), pictures.copy()
    extreme(across[:, :, 1:], pictures[:, :, :-1], out=across[:, :, 1:])
    extreme(across[:, :, :-1], pictures[:, :, 1:], out=across[:, :, :-1])
    extreme(down[:, 1:], pictures[:, :-1], out=down[:, 1:])
    extreme(down[:, :-1], pictures[:, 1:], out=down[:, :-1])
    found: Floats = extreme(across, down)
    return found


def _kernels(side: int, max_blur: float, max_cell: float) -> NDArray[np.float32]:
    """Return matrices (n, side, side) that blur or pixelate along one axis.

    Blurs are Gaussians with standard deviations up to `max_blur`. Pixelation averages over cells of up to `max_cell`
    pixels, at different offsets, and enlarges them again, half of them linearly and half as blocks.
    """
    positions = np.arange(side)
    kernels = []
    if max_blur:
        apart = np.subtract.outer(positions, positions)
        kernels += [
            _rows_of_one(np.exp(-0.5 * np.square(apart / width))) for width in np.linspace(0.3, max_blur, _KINDS)
        ]
    if max_cell > 1:
        for cell in np.linspace(1.25, max_cell, _KINDS):
            for phase in np.arange(4) / 4:
                edges = (np.arange(-2, side // cell + 3) + phase) * cell - 0.5
                inside = np.minimum(edges[1:, np.newaxis], positions + 0.5) - np.maximum(
                    edges[:-1, np.newaxis], positions - 0.5
                )
                means = np.clip(inside, 0, 1) / cell
                away = np.abs(np.subtract.outer(positions, (edges[1:] + edges[:-1]) / 2)) / cell
                kernels += [np.clip(1 - away, 0, 1) @ means, _rows_of_one(away < 0.5 + 1e-6) @ means]
    return np.array(kernels, np.float32).reshape(-1, side, side)


def _rows_of_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _apply_kernels(ink: Floats, kernels: NDArray[np.float32], side: int) -> Floats:
    """Apply a kernel to rows and columns of each image, and rescale its maximum to 1."""
    seen = kernels @ ink.reshape(-1, side, side) @ kernels.transpose(0, 2, 1)
    strong: Floats = seen.reshape(ink.shape) / np.maximum(seen.max(axis=(1, 2)), np.float32(0.25))[:, np.newaxis]
    return strong
