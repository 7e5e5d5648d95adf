"""Digits from other sources, for evaluation only: scikit-learn's, and digits typed in matplotlib's fonts.

All go through the preprocessing. Sets whose package is not installed are left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.errors import DataError
from training.types import Labels, Pixels
from training.vision.glyph import normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

_TYPED_SIZE = 64
_NO_DIGITS = ("STIXNonUni", "STIXSiz", "cmex", "cmsy", "cmmi", "LastResort", "Display")


class ExternalSet(NamedTuple):
    """Preprocessed glyphs (n, 28, 28), blank where preprocessing failed, and their labels."""

    name: str
    glyphs: Pixels
    labels: Labels


def external_sets() -> Iterator[ExternalSet]:
    """Yield the sets that are available."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        pass
    else:
        found = load_digits()
        small = np.rint(found.images * (255 / 16)).astype(np.uint8)
        labels = found.target.astype(np.int64)
        yield ExternalSet(
            "scikit-learn's 1,797 digits of 8×8", normalize_all([np.pad(image, 1) for image in small]), labels
        )
        large = [np.pad(image, 1).repeat(10, axis=0).repeat(10, axis=1) for image in small]
        yield ExternalSet("the same, each pixel a block of 10×10", normalize_all(large), labels)
    try:
        fonts = _fonts()
    except ModuleNotFoundError:
        return
    pictures = [_typed(font, str(digit)) for font in fonts for digit in range(10)]
    labels = np.tile(np.arange(10), len(fonts))
    yield ExternalSet(f"typed in {len(fonts)} fonts of matplotlib's", normalize_all(pictures), labels)


def normalize_all(images: Sequence[Pixels] | Pixels) -> Pixels:
    """Apply `normalize_glyph` to each image; those that it refuses become blank, and so count as errors."""
    glyphs = np.zeros((len(images), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for glyph, image in zip(glyphs, images, strict=True):
        with suppress(DataError):
            glyph[:] = normalize_glyph(image)
    return glyphs


def _fonts() -> list[Path]:
    import matplotlib as mpl

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return sorted(path for path in folder.glob("*.ttf") if not any(part in path.stem for part in _NO_DIGITS))


def _typed(font: Path, text: str) -> Pixels:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("L", (2 * _TYPED_SIZE, 2 * _TYPED_SIZE), 255)
    face = ImageFont.truetype(str(font), _TYPED_SIZE)
    ImageDraw.Draw(picture).text((_TYPED_SIZE // 2, _TYPED_SIZE // 4), text, fill=0, font=face)
    return np.asarray(picture)
