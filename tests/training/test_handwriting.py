from typing import Any

import numpy as np
import pytest

from training.augment.handwriting import handwriting
from training.data import load_dataset
from training.errors import ConfigError
from training.types import Floats
from training.vision.input_spec import InputSpec

DIGITS = load_dataset("starter").train.images[:600:2]
X = InputSpec().to_features(DIGITS)
STILL: dict[str, Any] = {"max_degrees": 0.0, "max_shear": 0.0, "max_stretch": 0.0, "alpha": 0.0, "max_shift": 0.0}


def boxes(x: Floats, faintest: float = 0.15) -> Floats:
    """The longer side of each row's ink."""
    inked = x.reshape(-1, 28, 28) > faintest
    sides = [np.asarray(inked.any(axis=axis)) for axis in (1, 2)]
    spans = [28 - side[:, ::-1].argmax(axis=1) - side.argmax(axis=1) for side in sides]
    longest: Floats = np.maximum(*spans).astype(np.float32)
    return longest


def centres(x: Floats) -> Floats:
    centre: Floats = x @ np.indices((28, 28)).reshape(2, -1).T / x.sum(axis=1, keepdims=True)
    return centre


def test_however_it_is_deformed_the_ink_fills_the_box_about_the_middle(rng: np.random.Generator) -> None:
    y = handwriting(min_box=20, max_box=20, max_shift=0)(X, rng)
    assert np.mean(np.abs(boxes(y) - 20) <= 1) > 0.9
    assert np.abs(centres(y) - 14).mean() < 0.35
    small = handwriting(min_box=16, max_box=16, max_shift=0)(X, rng)
    assert np.mean(np.abs(boxes(small) - 16) <= 1) > 0.9


def test_what_is_in_the_box_already_stays_about_as_it_is(rng: np.random.Generator) -> None:
    y = handwriting(**STILL, min_box=20, max_box=20)(X, rng)
    assert np.abs(y - X).mean() < 0.03 < 0.1 < np.abs(y - X[::-1]).mean()


def test_pens_make_strokes_bolder_or_finer(rng: np.random.Generator) -> None:
    fixed = STILL | {"min_box": 20.0, "max_box": 20.0, "pens": 1.0}
    plain = handwriting(**fixed)(X, rng).sum(axis=1)
    bold = handwriting(**fixed, bolder=1)(X, rng).sum(axis=1)
    fine = handwriting(**fixed, finer=1)(X, rng).sum(axis=1)
    assert np.mean(bold > plain) > 0.75
    assert np.mean(fine < plain) > 0.75
    assert bold.mean() > 1.1 * plain.mean() > 1.2 * fine.mean()


@pytest.mark.parametrize("seen", [{"max_blur": 2.0}, {"max_cell": 4.0}])
def test_blurs_and_cells_take_detail_but_no_strength_from_the_share_that_is_asked_for(
    seen: dict[str, Any],
) -> None:
    block = X[:128]  # one block, so that both draw alike
    plain = np.abs(np.diff(block.reshape(-1, 28, 28), axis=2)).sum(axis=(1, 2)) / block.sum(axis=1)
    for pens in (0.0, 0.4, 1.0):
        y = handwriting(**STILL, **seen, pens=pens)(block, np.random.default_rng(1))
        untouched = handwriting(**STILL, pens=pens)(block, np.random.default_rng(1))
        changed = np.any(y != untouched, axis=1)
        assert changed.mean() == pytest.approx(pens, abs=0.1)
        np.testing.assert_allclose(y[changed].max(axis=1), 1, atol=1e-5)
    rough = np.abs(np.diff(y.reshape(-1, 28, 28), axis=2)).sum(axis=(1, 2)) / y.sum(axis=1)
    assert rough.mean() < 0.8 * plain.mean()


def test_another_range_of_values_is_deformed_alike() -> None:
    options: dict[str, Any] = {"max_cell": 3.0, "max_blur": 1.0, "bolder": 0.5, "finer": 0.5}
    y = handwriting(**options)(X, np.random.default_rng(5))
    wide = handwriting(28, -1.0, **options)(2 * X - 1, np.random.default_rng(5))
    np.testing.assert_allclose(wide, 2 * y - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_box": 0.0}, "min_box"),
        ({"min_box": 21.0, "max_box": 20.0}, "min_box"),
        ({"sigma": 0.0}, "sigma"),
        ({"max_stretch": 1.0}, "max_stretch"),
        ({"bolder": 1.5}, "bolder"),
        ({"pens": 2.0}, "pens"),
        ({"max_blur": 20.0}, "blurs"),
        ({"max_cell": 8.0}, "cells"),
    ],
)
def test_options_that_make_no_picture_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        handwriting(**options)
    assert caught.value.field == "augment_options"
