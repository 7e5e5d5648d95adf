"""Foreground extraction: the ink of a gray image, 0 for paper to 255, cropped to its bounding box.

An image with a constant border was drawn by a program, and its ink is used as it is. Any other was photographed,
scanned or compressed, and its background is estimated first.
"""

import math

import numpy as np

from training.errors import DataError
from training.types import Floats, Pixels
from training.vision.background import Paper, estimate_background, estimate_background_from_edge
from training.vision.borders import border, crop
from training.vision.connected_components import Mask, label_components, select_glyph_components
from training.vision.page_detection import find_page
from training.vision.resize import resize

_MIN_CONTRAST = 16
_MIN_STRENGTH = 32
_WEAK = 80
_FAINT = 0.06  # of the contrast
_WORKING_SIDE = 192
"""Longer side of the reduced copy in which the ink of a photograph is located."""


def extract_foreground(gray: Pixels) -> Floats:
    """Return the ink of an image (height, width). Raises DataError if it is blank."""
    light = gray if gray[0, 0] < 128 else 255 - gray
    by_row, by_column = np.maximum.reduce(light, axis=1), np.maximum.reduce(light, axis=0)
    if not (by_row[0] or by_row[-1] or by_column[0] or by_column[-1]):  # the common case: the border is black or white
        most = int(np.maximum.reduce(by_row))
        if most < _MIN_CONTRAST:
            raise blank_error()
        if np.count_nonzero(light) <= 0.6 * light.size:
            return _glyph_of(light, by_row, by_column, most)
    edge = border(gray)
    counts = np.bincount(edge, minlength=256)
    shade = int(counts.argmax())
    even = counts[shade] >= 0.6 * len(edge)
    if even and np.count_nonzero(gray == shade) >= 0.4 * gray.size:
        return _drawn(gray, shade)
    page = find_page(gray)
    if page is None:
        return _drawn(gray, shade) if even else _photographed(gray)
    try:
        return _photographed(gray[page])
    except DataError:  # not a page but a wide stroke
        return _drawn(gray, shade) if even else _photographed(gray)


def blank_error() -> DataError:
    """Build the error for blank images."""
    return DataError("the image is blank: nothing in it differs from the background")


def _drawn(gray: Pixels, shade: int) -> Floats:
    """Extract ink from a constant background."""
    lighter, darker = int(gray.max()) - shade, shade - int(gray.min())
    if max(lighter, darker) < _MIN_CONTRAST:
        raise blank_error()
    ink = gray - np.uint8(shade) if lighter >= darker else np.uint8(shade) - gray
    if lighter and darker:
        ink[(gray < shade) if lighter >= darker else (gray > shade)] = 0
    return _glyph_of(ink, ink.max(axis=1), ink.max(axis=0), int(ink.max()))


def _glyph_of(ink: Pixels, by_row: Pixels, by_column: Pixels, most: int) -> Floats:
    """Crop ink on a zero background to the glyph; `by_row`, `by_column` and `most` are its maxima."""
    ink = _boxed(ink, by_row, by_column, most)
    glyph = ink.astype(np.float32)
    if _is_scattered(glyph) and not _is_enlarged(ink):
        found = label_components(glyph, ink > 0)
        kept = select_glyph_components(found)
        if kept.any() and not kept.all():  # if all components are specks, such as dots, all are the glyph
            ink = np.where(np.append(kept, False)[found.labels], ink, 0)
            most = int(ink.max())
            glyph = _boxed(ink, ink.max(axis=1), ink.max(axis=0), most).astype(np.float32)
    if most < 250:
        glyph *= np.float32(255 / most)
    return glyph


def _boxed(ink: Pixels, by_row: Pixels, by_column: Pixels, most: int) -> Pixels:
    """Crop to the bounding box of the ink.

    The faintest ink counts if the box is then a multiple of MNIST's: the image may be an enlarged MNIST digit.
    Otherwise faint ink is taken for compression artifacts.
    """
    down, across = by_row.tobytes(), by_column.tobytes()  # stripping bytes is faster than searching arrays
    rows, columns = _stripped(down, _SHADES[:1]), _stripped(across, _SHADES[:1])
    if max(rows.stop - rows.start, columns.stop - columns.start) % 20 not in (0, 19):
        faint = _SHADES[: int(_FAINT * most) + 1]
        rows, columns = _stripped(down, faint), _stripped(across, faint)
    return ink[rows, columns]


_SHADES = bytes(range(256))


def _stripped(most: bytes, faint: bytes) -> slice:
    """Return the slice from the first to the last entry that is more than faint."""
    return slice(len(most) - len(most.lstrip(faint)), len(most.rstrip(faint)))


def _is_enlarged(ink: Pixels) -> bool:
    """Whether it is ink of 20 pixels, enlarged by whole pixels; then everything is the glyph, specks included."""
    times = max(ink.shape) // 20
    if times < 2 or any(side % times for side in ink.shape):
        return False
    return np.array_equal(ink[::times, ::times].repeat(times, axis=0).repeat(times, axis=1), ink)


def _is_scattered(ink: Floats) -> bool:
    """Whether there may be more than the glyph: empty rows or columns between ink, or a frame."""
    height, width = ink.shape
    if min(height, width) < 30:
        return False
    sides = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
    if all(np.count_nonzero(side) / len(side) > 0.7 for side in sides):
        return True
    across, down = ink @ np.ones(width, np.float32), np.ones(height, np.float32) @ ink
    return bool(np.count_nonzero(across) < height or np.count_nonzero(down) < width)


def _photographed(gray: Pixels) -> Floats:
    shrink = max(1, max(gray.shape) / _WORKING_SIDE)
    height, width = (max(1, round(side / shrink)) for side in gray.shape)
    small = resize(gray.astype(np.float32), height, width)
    paper, sign = _paper_and_side(small)
    ink = _strength(small, paper.upsample(small.shape), sign)
    noise = _noise(ink)
    strong = ink[ink > max(_MIN_STRENGTH, 4.5 * noise)]
    if len(strong) < min(_MIN_PIXELS, 1 + ink.size // 100):
        raise blank_error()
    strength = float(np.percentile(strong, 90))
    mask = ink > max(0.4 * strength, 4.5 * noise)
    found = label_components(ink, mask)
    parts = select_glyph_components(found)
    if strength < _WEAK and not (parts & ~found.at_edge).any():
        raise blank_error()  # a corner that gets less light
    kept = np.append(parts, False)[found.labels]
    region = _wider(kept, 2)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        raise blank_error()
    # Repeat at full resolution, around the ink.
    down, across = _span(rows, height, gray.shape[0]), _span(columns, width, gray.shape[1])
    ink = _strength(gray[down, across], paper.upsample(gray.shape, down, across), sign)
    low, high = max(0.2 * strength, 2.5 * noise), 0.9 * strength
    ink = np.clip((ink - low) * (255 / (high - low)), 0, 255)
    near_rows = np.arange(gray.shape[0])[down] * height // gray.shape[0]
    near_columns = np.arange(gray.shape[1])[across] * width // gray.shape[1]
    ink *= region[near_rows][:, near_columns]
    return _cut_visible(ink)


def _strength(gray: np.ndarray, shades: Floats, sign: int) -> Floats:
    """Return the strength of the ink, 0 to 255: the light that it absorbs or adds relative to the background."""
    if sign > 0:
        return gray - shades
    return 255 - gray * (255 / np.maximum(shades, 1))


def _paper_and_side(gray: Floats) -> tuple[Paper, int]:
    """Estimate the background, and whether the ink is darker (−1) or lighter (1).

    If pixels differ from the estimate in both directions, strokes were too wide for it, and the border decides.
    """
    best = (math.inf, Paper(gray), -1)
    for find in (estimate_background, estimate_background_from_edge):
        paper = find(gray)
        away = gray - paper.upsample(gray.shape)
        sides = []
        for sign in (-1, 1):
            strong = away[away * sign > max(_MIN_CONTRAST, 4.5 * _noise(away * sign))]
            sides.append((float((strong.astype(np.float64) ** 2).sum()) if len(strong) >= _MIN_PIXELS else 0, sign))
        (less, _), (more, sign) = sorted(sides)
        doubt = less / max(more, 1) if paper.is_plausible else 1.0
        if doubt < best[0]:
            best = doubt, paper, sign
        if best[0] < _DOUBT:
            break
    return best[1], best[2]


def _noise(ink: Floats) -> float:
    """Estimate the standard deviation of the background from the pixels on the other side of it than the ink."""
    paper = ink[ink < 0]
    return -1.4826 * float(np.median(paper)) if len(paper) else 0.0


_MIN_PIXELS = 3
_DOUBT = 0.4


def _wider(mask: Mask, pixels: int) -> Mask:
    for _ in range(pixels):
        spaced = np.pad(mask, 1)
        mask = spaced[1:-1, :-2] | spaced[1:-1, 2:] | mask
        spaced = np.pad(mask, 1)
        mask = spaced[:-2, 1:-1] | spaced[2:, 1:-1] | mask
    return mask


def _span(found: np.ndarray, before: int, after: int) -> slice:
    return slice(int(found[0]) * after // before, -(-(int(found[-1]) + 1) * after // before))


def _cut_visible(ink: Floats) -> Floats:
    visible = ink > 40
    if not visible.any():
        raise blank_error()
    return crop(ink, visible)
