import contextlib

import numpy as np
import pytest

from training.data import load_dataset
from training.data.published_sets import MNIST, load_published
from training.errors import DataError
from training.vision.glyph import is_compatible, normalize_glyph, preprocessing_id
from training.vision.input_spec import InputSpec

DIGITS = load_dataset("starter").train.images[:200]


def test_a_picture_in_mnist_form_passes_bit_for_bit() -> None:
    for digit in load_dataset("starter").train.images:
        assert normalize_glyph(digit) is digit


@pytest.mark.mnist
def test_all_of_mnist_passes_bit_for_bit_and_comes_back_from_its_negative(mnist_source: object) -> None:  # noqa: ARG001 -- skips where MNIST is not
    source = load_published(MNIST)
    assert source.test is not None
    images = np.concatenate([source.train.images, source.test.images])
    assert len(images) == 70_000
    for image in images:
        assert normalize_glyph(image) is image
        assert np.array_equal(normalize_glyph(255 - image), image)


@pytest.mark.mnist
def test_mnist_padded_or_enlarged_comes_back(mnist_source: object) -> None:  # noqa: ARG001 -- skips where MNIST is not
    test = load_published(MNIST).test
    assert test is not None
    lost = 0
    for image in test.images[:2000]:
        lost += not np.array_equal(normalize_glyph(np.pad(image, ((3, 9), (14, 0)))), image)
        lost += not np.array_equal(normalize_glyph(255 - np.pad(image.repeat(3, axis=0).repeat(3, axis=1), 7)), image)
    assert lost <= 2  # a digit 19 pixels long, enlarged, cannot be told from one of 20


def test_a_digit_inverted_padded_enlarged_or_moved_comes_back_bit_for_bit() -> None:
    for digit in DIGITS:
        large = np.pad(digit.repeat(5, axis=0).repeat(5, axis=1), 40)
        for picture in (large, 255 - large, 255 - digit, np.pad(digit, ((0, 30), (5, 2)))):
            np.testing.assert_array_equal(normalize_glyph(picture), digit)


def test_a_small_or_off_centre_digit_of_28_pixels_is_brought_to_its_place() -> None:
    for digit in DIGITS[:50]:
        rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
        ink = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        moved = np.zeros((28, 28), np.uint8)
        moved[: ink.shape[0], : ink.shape[1]] = ink
        np.testing.assert_array_equal(normalize_glyph(moved), digit)


def test_glyphs_that_go_from_edge_to_edge_pass_as_they_are(rng: np.random.Generator) -> None:
    """Such are the pictures of Fashion-MNIST, which are no digits."""
    glyph = np.zeros((28, 28), np.uint8)
    glyph[:, 9:20] = rng.integers(100, 255, (28, 11))
    assert normalize_glyph(glyph) is glyph


def test_polarity_does_not_matter() -> None:
    for digit in DIGITS[:20]:
        large = np.pad(digit.repeat(2, axis=0).repeat(2, axis=1), 9)
        np.testing.assert_array_equal(normalize_glyph(large), normalize_glyph(255 - large))


def test_faint_ink_is_stretched_to_full_contrast() -> None:
    picture = np.full((60, 40), 200, np.uint8)
    picture[10:50, 18:22] = 150
    glyph = normalize_glyph(picture)
    assert glyph.max() == 255
    assert glyph[0].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (3, 500), (500, 3), (64, 64)])
def test_blank_pictures_are_told_apart_from_glyphs(shape: tuple[int, int]) -> None:
    for shade in (255, 128):
        with pytest.raises(DataError, match="blank"):
            normalize_glyph(np.full(shape, shade, np.uint8))


@pytest.mark.parametrize("shape", [(2, 3), (29, 28), (1000, 7), (5, 900)])
def test_any_picture_with_something_on_it_becomes_a_glyph(shape: tuple[int, int], rng: np.random.Generator) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2, shape[1] // 2] = 255
    glyph = normalize_glyph(picture)
    assert glyph.shape == (28, 28)
    assert glyph.dtype == np.uint8
    with contextlib.suppress(DataError):  # noise may be blank: it is all paper
        assert normalize_glyph(rng.integers(0, 256, shape).astype(np.uint8)).shape == (28, 28)


def test_what_is_no_gray_picture_is_refused() -> None:
    for wrong in (np.zeros((28, 28)), np.zeros((28, 28, 3), np.uint8), np.zeros((0, 5), np.uint8)):
        with pytest.raises(DataError, match="gray image"):
            normalize_glyph(wrong)


def test_features_scale_and_crop_as_the_form_says() -> None:
    features = InputSpec().to_features(DIGITS)
    assert features.shape == (200, 784)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, DIGITS.reshape(200, 784) / 255, atol=1e-7)
    signed = InputSpec(low=-1.0).to_features(DIGITS)
    assert signed.min() == -1
    assert signed.max() == 1
    cropped = InputSpec(side=20).to_features(DIGITS)
    np.testing.assert_allclose(cropped, DIGITS[:, 4:24, 4:24].reshape(200, 400) / 255, atol=1e-7)
    means = InputSpec(side=24, block=2, low=-1.0).to_features(DIGITS)
    assert means.shape == (200, 144)
    assert means.dtype == np.float32
    first, last = DIGITS[:, 2:4, 2:4], DIGITS[:, 24:26, 24:26]
    np.testing.assert_allclose(means[:, 0], first.mean(axis=(1, 2)) / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(means[:, -1], last.mean(axis=(1, 2)) / 127.5 - 1, atol=1e-6)


def test_features_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(n, 28, 28\)"):
        InputSpec().to_features(DIGITS[0])


def test_networks_of_an_earlier_preprocessing_that_passes_mnist_may_be_used() -> None:
    for form in (InputSpec(), InputSpec(side=20)):
        assert is_compatible(preprocessing_id(form), form)
        assert is_compatible(preprocessing_id(form, version=1), form)
        assert not is_compatible(preprocessing_id(form, version=99), form)
        assert not is_compatible(None, form)
    assert not is_compatible(preprocessing_id(InputSpec(low=-1.0)), InputSpec())


def test_the_fingerprint_changes_with_the_form() -> None:
    assert preprocessing_id() == preprocessing_id(InputSpec())
    forms = (InputSpec(), InputSpec(side=20), InputSpec(low=-1.0), InputSpec(side=20, block=2))
    assert len({preprocessing_id(form) for form in forms}) == 4


def test_a_form_without_blocks_is_described_as_earlier_releases_read_it() -> None:
    assert InputSpec().to_dict() == {"side": 28, "low": 0.0, "high": 1.0}
    assert InputSpec(**InputSpec(block=2).to_dict()) == InputSpec(block=2)
    assert preprocessing_id() == "31b419ac2f2c"
