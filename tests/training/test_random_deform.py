import inspect
from pathlib import Path

import numpy as np
import pytest

from training.augment.geometry import bilinear_sample
from training.augment.random_deform import (
    AUGMENTATIONS,
    elastic,
    make_augment,
    random_deform,
    rotate,
    scale,
    shear,
    shift,
)
from training.data import load_dataset
from training.errors import ConfigError
from training.export.npz import load
from training.types import Floats
from training.vision.input_spec import InputSpec

STARTER = load_dataset("starter").train
DIGITS, LABELS = STARTER.images[:300], STARTER.labels[:300]
NAMES = sorted(AUGMENTATIONS)


def pixels(side: int) -> np.ndarray:
    return np.indices((side, side), np.float32).reshape(1, 2, side * side)


def centre_of_mass(x: Floats) -> Floats:
    side = round(x.shape[1] ** 0.5)
    places = np.indices((side, side)).reshape(2, -1)
    centre: Floats = (x @ places.T) / x.sum(axis=1, keepdims=True)
    return centre


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [28, 20])
def test_shapes_types_and_the_range_of_values_stay(name: str, side: int, rng: np.random.Generator) -> None:
    x = InputSpec(side=side, low=-1.0).to_features(DIGITS)
    before = x.copy()
    y = AUGMENTATIONS[name](side, -1.0)(x, rng)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert y.min() >= -1
    assert y.max() <= 1
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_deforms_the_same_and_another_does_not(name: str) -> None:
    x = InputSpec().to_features(DIGITS)
    augment = AUGMENTATIONS[name]()
    one, same, other = (augment(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_deformed_by_draws_of_its_own(name: str, rng: np.random.Generator) -> None:
    x = np.repeat(InputSpec().to_features(DIGITS[:1]), 200, axis=0)
    y = AUGMENTATIONS[name]()(x, rng)
    assert len(np.unique(y, axis=0)) == 200


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_picture_stays_empty_and_no_rows_stay_none(name: str, rng: np.random.Generator) -> None:
    augment = AUGMENTATIONS[name](28, -1.0)
    np.testing.assert_array_equal(augment(np.full((3, 784), -1, np.float32), rng), -1)
    assert augment(np.empty((0, 784), np.float32), rng).shape == (0, 784)


def test_options_at_nothing_change_nothing(rng: np.random.Generator) -> None:
    x = InputSpec().to_features(DIGITS)
    still = random_deform(max_shift=0, max_degrees=0, min_scale=1, max_scale=1, max_shear=0, alpha=0)
    np.testing.assert_array_equal(still(x, rng), x)


def test_resampling_at_whole_pixels_is_exact() -> None:
    x = InputSpec().to_features(DIGITS[:4])
    np.testing.assert_array_equal(bilinear_sample(x, np.repeat(pixels(28), 4, axis=0)), x)
    moved = bilinear_sample(x, np.repeat(pixels(28), 4, axis=0) - np.array([[3], [-2]], np.float32)).reshape(4, 28, 28)
    np.testing.assert_array_equal(moved[:, 3:, :26], x.reshape(4, 28, 28)[:, :25, 2:])
    np.testing.assert_array_equal(moved[:, :3], 0)
    turned = bilinear_sample(x, np.repeat(np.stack([pixels(28)[:, 1], 27 - pixels(28)[:, 0]], axis=1), 4, axis=0))
    np.testing.assert_array_equal(turned.reshape(4, 28, 28), np.rot90(x.reshape(4, 28, 28), axes=(1, 2), k=1))


def test_resampling_between_pixels_is_the_mean_of_its_neighbours_by_distance() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 9)  # linear in row and column, so bilinear reading is exact
    places = np.full((1, 2, 9), 0.25, np.float32)
    places[:, 1] = 1.5
    np.testing.assert_allclose(bilinear_sample(x, places), 3 * 0.25 + 1.5, rtol=1e-6)


@pytest.mark.parametrize("far", [-0.6, -1e9, 2.6, 1e9])
def test_what_lies_outside_fades_into_the_background(far: float) -> None:
    read = bilinear_sample(np.ones((1, 9), np.float32), np.full((1, 2, 9), far, np.float32), background=-1.0)
    assert (read < 0).all()
    assert (read >= -1).all()


def test_shifts_move_the_ink_by_up_to_the_pixels_named(rng: np.random.Generator) -> None:
    x = InputSpec().to_features(DIGITS)
    moved = np.abs(centre_of_mass(shift(max_shift=3)(x, rng)) - centre_of_mass(x))
    assert 2.8 < moved.max() < 3.001
    assert moved.mean() == pytest.approx(1.5, abs=0.2)


def test_rotation_turns_by_up_to_the_degrees_named_about_the_centre(rng: np.random.Generator) -> None:
    bar = np.zeros((28, 28), np.float32)
    bar[13:15, 4:24] = 1
    rows, columns = np.indices((28, 28)).reshape(2, -1) - 13.5
    turned = rotate(max_degrees=30)(np.repeat(bar.reshape(1, -1), 300, axis=0), rng)
    spread = turned @ np.stack([rows * columns, columns**2 - rows**2], axis=1)
    degrees = np.rad2deg(0.5 * np.arctan2(2 * spread[:, 0], spread[:, 1]))
    assert 28 < np.abs(degrees).max() < 30.5
    assert abs(degrees.mean()) < 3
    assert np.abs(centre_of_mass(turned) - 13.5).max() < 0.05


def test_scaling_changes_the_area_by_the_factors_named(rng: np.random.Generator) -> None:
    square = np.zeros((28, 28), np.float32)
    square[9:19, 9:19] = 1
    areas = scale(min_scale=0.5, max_scale=1.5)(np.repeat(square.reshape(1, -1), 300, axis=0), rng).sum(axis=1)
    assert 20 < areas.min() < 50
    assert 180 < areas.max() < 240


def test_shearing_keeps_rows_in_their_row_and_the_middle_in_its_place(rng: np.random.Generator) -> None:
    cross = np.zeros((28, 28), np.float32)
    cross[8:20, 13:15] = 1
    slanted = shear(max_shear=0.3)(np.repeat(cross.reshape(1, -1), 50, axis=0), rng).reshape(50, 28, 28)
    np.testing.assert_allclose(slanted.sum(axis=2), np.broadcast_to(cross.sum(axis=1), (50, 28)), atol=1e-4)
    np.testing.assert_allclose((slanted @ np.arange(28))[:, 13:15].mean(axis=1) / 2, 13.5, atol=1e-4)


def test_elastic_fields_are_smooth_and_as_large_as_the_paper_says() -> None:
    """Uniform noise through a Gaussian has the deviation alpha / sqrt(3) / (2·sigma·sqrt(pi)), away from the edges."""
    ramp = np.broadcast_to(np.arange(28, dtype=np.float32), (28, 28)).reshape(1, -1)  # reads back its own column
    read = elastic(alpha=20, sigma=4)(np.repeat(ramp, 600, axis=0), np.random.default_rng(3)).reshape(-1, 28, 28)
    moved = (read - np.arange(28))[:, 10:18, 10:18]
    assert moved.std() == pytest.approx(20 / np.sqrt(3) / (2 * 4 * np.sqrt(np.pi)), rel=0.1)
    assert abs(moved.mean()) < 0.1
    neighbours = np.corrcoef(moved[:, 4, 4], moved[:, 4, 5])[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / (4 * 4**2)), abs=0.01)


def test_deformed_digits_are_still_read_as_what_they_are(rng: np.random.Generator) -> None:
    network = load(Path(__file__).parents[2] / "models" / "mnist" / "1" / "weights.npz")
    x, labels = network.config.input.to_features(DIGITS), LABELS
    assert np.mean(network.predict(random_deform()(x, rng)).argmax(axis=1) == labels) > 0.9


@pytest.mark.parametrize(
    "options", [{"min_scale": 0.0}, {"min_scale": 1.2, "max_scale": 1.1}, {"sigma": 0.0}, {"sigma": -1.0}]
)
def test_options_that_make_no_picture_are_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))) as caught:
        AUGMENTATIONS["deform"](**options)
    assert caught.value.field == "augment_options"


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_a_keyword_with_a_number_for_its_default(name: str) -> None:
    side, background, *options = inspect.signature(AUGMENTATIONS[name]).parameters.values()
    assert (side.name, background.name) == ("side", "background")
    assert options
    assert all(option.kind is option.KEYWORD_ONLY and isinstance(option.default, float) for option in options)


def test_settings_build_what_the_table_builds() -> None:
    x = InputSpec(side=20, low=-1.0).to_features(DIGITS)
    made = make_augment("shift", {"max_shift": 3}, 20, -1.0)
    assert made is not None
    same = shift(20, -1.0, max_shift=3)(x, np.random.default_rng(1))
    np.testing.assert_array_equal(made(x, np.random.default_rng(1)), same)
    assert make_augment("none", {}) is None


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("nothing", {}, "augment"),
        ("none", {"max_shift": 1}, "augment_options"),
        ("shift", {"max_degrees": 1}, "augment_options"),
        ("shift", {"max_shift": -1}, "augment_options"),
        ("shift", {"max_shift": True}, "augment_options"),
        ("shift", {"max_shift": "2"}, "augment_options"),
        ("shift", {"max_shift": float("nan")}, "augment_options"),
        ("scale", {"min_scale": 0}, "augment_options"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name: str, options: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_augment(name, options)
    assert caught.value.field == field
