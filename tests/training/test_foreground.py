"""Ink found on paper of every kind. The laws hold for a drawn digit; benchmarks/pictures.py measures real ones."""

import numpy as np
import pytest

from training.data import load_dataset
from training.errors import DataError
from training.types import Floats, Pixels
from training.vision.connected_components import label_components
from training.vision.foreground import extract_foreground
from training.vision.glyph import normalize_glyph
from training.vision.resize import resize

DIGITS = load_dataset("starter").train.images[::500]


def scene(digit: Pixels, ink: float = 30, paper: float = 220, pad: int = 60) -> Floats:
    """A digit enlarged eight times on paper, as a camera with no faults would see it."""
    covered = np.pad(digit.repeat(8, axis=0).repeat(8, axis=1), pad).astype(np.float32) / 255
    return paper + (ink - paper) * covered


def shot(light: Floats, noise: float = 3, seed: int = 0) -> Pixels:
    noisy = light + np.random.default_rng(seed).normal(0, noise, light.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def assert_alike(found: Pixels, digit: Pixels) -> None:
    """The same strokes, though at most a pixel off, and of another strength."""
    shifted = [np.roll(digit, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    alike = max(float(np.corrcoef(found.ravel(), other.ravel())[0, 1]) for other in shifted)
    assert alike > 0.9


@pytest.mark.parametrize("digit", DIGITS, ids=range(len(DIGITS)))
def test_what_light_does_to_a_photograph_is_undone(digit: Pixels) -> None:
    flat = scene(digit)
    side = flat.shape[0]
    across = np.linspace(1, 0.4, side, dtype=np.float32)
    shadow = np.where(np.arange(side) < 0.45 * side, 1, 0.5).astype(np.float32)
    for light in (flat, flat * 0.4, flat * across, flat * across[:, None], flat * shadow, scene(digit, 210, 60)):
        assert_alike(normalize_glyph(shot(light)), digit)


@pytest.mark.parametrize("digit", DIGITS, ids=range(len(DIGITS)))
def test_a_digit_that_fills_the_photograph_is_found(digit: Pixels) -> None:
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert_alike(normalize_glyph(shot(scene(cut, pad=8))), digit)


@pytest.mark.parametrize("digit", DIGITS, ids=range(len(DIGITS)))
def test_frames_dust_and_desks_are_not_ink(digit: Pixels) -> None:
    plain = scene(digit, 0, 255).astype(np.uint8)
    side = plain.shape[0]
    edged, inner, dusty = plain.copy(), plain.copy(), plain.copy()
    edged[:6], edged[-6:], edged[:, :6], edged[:, -6:] = 0, 0, 0, 0
    inner[10:13, 10:-10], inner[-13:-10, 10:-10], inner[10:-10, 10:13], inner[10:-10, -13:-10] = 0, 0, 0, 0
    dusty[20:22, 20:22], dusty[side - 20 : side - 18, 30:33] = 0, 0
    for picture in (edged, inner, dusty, 255 - inner, 255 - dusty):
        assert_alike(normalize_glyph(picture), digit)
    desk = np.pad(scene(digit), ((40, 70), (30, 55)), constant_values=60)
    assert_alike(normalize_glyph(shot(desk)), digit)


@pytest.mark.parametrize("noise", [0, 3, 12])
@pytest.mark.parametrize("low", [1.0, 0.7])
def test_paper_with_nothing_on_it_is_blank(noise: float, low: float) -> None:
    sheet = np.full((360, 300), 220, np.float32) * np.linspace(1, low, 300, dtype=np.float32)
    for seed in range(3):
        with pytest.raises(DataError, match="blank"):
            normalize_glyph(shot(sheet, noise, seed))


def test_ink_is_cut_to_its_box_and_runs_from_paper_to_full() -> None:
    picture = np.full((60, 40), 200, np.uint8)
    picture[10:50, 18:22] = 150
    ink = extract_foreground(picture)
    assert ink.shape == (40, 4)
    assert (ink == 255).all()


def test_components_are_what_touches_also_by_corners(rng: np.random.Generator) -> None:
    """Held against a flood of each part, one pixel after the other."""
    for share in (0.2, 0.4, 0.6):
        mask = rng.random((23, 31)) < share
        ink = rng.random(mask.shape).astype(np.float32)
        found = label_components(ink, mask)
        left = set(map(tuple, np.argwhere(mask).tolist()))
        parts = 0
        while left:
            reached, waiting = set(), [left.pop()]
            while waiting:
                y, x = waiting.pop()
                reached.add((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                waiting += near
            places = np.array(sorted(reached))
            number = found.labels[tuple(places[0])]
            assert (found.labels == number).sum() == len(reached)
            assert (found.labels[tuple(places.T)] == number).all()
            box = (found.tops[number], found.lefts[number], found.bottoms[number], found.rights[number])
            assert box == (*places.min(axis=0), *places.max(axis=0))
            assert found.weights[number] == pytest.approx(ink[tuple(places.T)].sum(), rel=1e-4)
            parts += 1
        assert len(found.weights) == parts
        assert (found.labels[~mask] == -1).all()


def test_a_broad_soft_stroke_is_no_sheet() -> None:
    """A few pixels of gray, enlarged until hardly any of it has the paper's exact shade, are still read."""
    small = np.zeros((10, 10), np.float32)
    small[2:8, 4:6], small[4, 4] = 255, 120
    soft = resize(small, 100, 100)
    glyph = normalize_glyph(np.rint(soft).astype(np.uint8))
    assert glyph[4:24].any(axis=1).all()


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("ink", [30, 255])
def test_dots_that_are_each_as_small_as_dust_are_all_of_the_glyph(ink: int, times: int) -> None:
    dots = np.zeros((60, 60), np.uint8)
    dots[1:-1:4, 1:-1:4] = ink
    picture = dots.repeat(times, axis=0).repeat(times, axis=1)
    for gray in (picture, 255 - picture):
        assert normalize_glyph(gray)[4:24, 4:24].any()
