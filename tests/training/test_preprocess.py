import numpy as np
import pytest

from training.data import open_source
from training.errors import DataError
from training.preprocess import InputForm, fingerprint, to_glyph

DIGITS = open_source("starter").train.images[:200]


def test_a_picture_in_mnist_form_passes_bit_for_bit() -> None:
    for digit in open_source("starter").train.images:
        assert to_glyph(digit) is digit


def test_a_larger_picture_of_a_digit_comes_back_to_the_digit() -> None:
    """Enlarged five times, with a wide border, dark on light as well: most come back pixel for pixel."""
    exact = 0
    for digit in DIGITS:
        large = np.pad(digit.repeat(5, axis=0).repeat(5, axis=1), 40)
        for picture in (large, 255 - large):
            difference = np.abs(to_glyph(picture).astype(int) - digit.astype(int))
            assert difference.mean() < 4  # of 255
            exact += not difference.any()
    assert exact > 0.8 * 2 * len(DIGITS)


def test_polarity_does_not_matter() -> None:
    for digit in DIGITS[:20]:
        large = np.pad(digit.repeat(2, axis=0).repeat(2, axis=1), 9)
        np.testing.assert_array_equal(to_glyph(large), to_glyph(255 - large))


def test_faint_ink_is_stretched_to_full_contrast() -> None:
    picture = np.full((60, 40), 200, np.uint8)
    picture[10:50, 18:22] = 150
    glyph = to_glyph(picture)
    assert glyph.max() == 255
    assert glyph[0].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (3, 500), (500, 3), (64, 64)])
def test_blank_pictures_are_told_apart_from_glyphs(shape: tuple[int, int]) -> None:
    for shade in (255, 128):
        with pytest.raises(DataError, match="blank"):
            to_glyph(np.full(shape, shade, np.uint8))


@pytest.mark.parametrize("shape", [(2, 3), (29, 28), (1000, 7), (5, 900)])
def test_any_picture_with_something_on_it_becomes_a_glyph(shape: tuple[int, int], rng: np.random.Generator) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2, shape[1] // 2] = 255
    glyph = to_glyph(picture)
    assert glyph.shape == (28, 28)
    assert glyph.dtype == np.uint8
    noisy = rng.integers(0, 256, shape).astype(np.uint8)
    assert to_glyph(noisy).shape == (28, 28)


def test_what_is_no_gray_picture_is_refused() -> None:
    for wrong in (np.zeros((28, 28)), np.zeros((28, 28, 3), np.uint8), np.zeros((0, 5), np.uint8)):
        with pytest.raises(DataError, match="gray picture"):
            to_glyph(wrong)


def test_features_scale_and_crop_as_the_form_says() -> None:
    features = InputForm().features(DIGITS)
    assert features.shape == (200, 784)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, DIGITS.reshape(200, 784) / 255, atol=1e-7)
    signed = InputForm(low=-1.0).features(DIGITS)
    assert signed.min() == -1
    assert signed.max() == 1
    cropped = InputForm(side=20).features(DIGITS)
    np.testing.assert_allclose(cropped, DIGITS[:, 4:24, 4:24].reshape(200, 400) / 255, atol=1e-7)


def test_features_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(n, 28, 28\)"):
        InputForm().features(DIGITS[0])


def test_the_fingerprint_changes_with_the_form() -> None:
    assert fingerprint() == fingerprint(InputForm())
    assert len({fingerprint(form) for form in (InputForm(), InputForm(side=20), InputForm(low=-1.0))}) == 3
