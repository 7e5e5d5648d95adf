import numpy as np
from PIL import Image

from service.server.fast_decode import pixel_bytes
from service.server.fast_preprocess import already_centred, fills_box
from training import Dataset
from training.types import Pixels
from training.vision.glyph import is_mnist_like, normalize_glyph


def passes(picture: Pixels) -> bool:
    gray = Image.fromarray(picture).im
    return fills_box(gray) and bool(already_centred({7: pixel_bytes(gray)}))


def test_digits_in_mnist_form_take_the_shortcut_and_what_takes_it_passes_bit_for_bit(digits: Dataset) -> None:
    """Moved, made smaller, cut, specked: whatever the shortcut takes is what `normalize_glyph` takes as it is."""
    rng = np.random.default_rng(0)
    taken = 0
    assert all(passes(digit) for digit in digits.images)
    for digit in digits.images[:600]:
        down, across = (int(offset) for offset in rng.integers(-5, 6, 2))
        rows, columns = (int(place) for place in rng.integers(6, 24, 2))
        cut, specked = digit.copy(), digit.copy()
        cut[rows:], cut[:, columns:] = 0, 0
        specked[rows, columns] = 1 + rng.integers(0, 255)
        moved, small = np.roll(digit, (down, across), (0, 1)), np.pad(digit[::2, ::2], 7)
        for picture in (cut, specked, moved, small, 255 - digit, digit // 2):
            if passes(picture):
                taken += 1
                assert is_mnist_like(picture)
                assert normalize_glyph(picture) is picture
    assert taken > 600


def test_what_is_blank_small_or_off_its_place_does_not_take_it(digits: Dataset) -> None:
    nothing = np.zeros((28, 28), np.uint8)
    for picture in (
        nothing,
        nothing + 255,
        nothing + 7,
        np.roll(digits.images[0], 4, 1),
        np.pad(digits.images[0][::2, ::2], 7),
    ):
        assert not passes(picture)


def test_each_of_many_is_looked_at_by_itself(digits: Dataset) -> None:
    many = {number: digit.tobytes() for number, digit in enumerate(digits.images[:40])}
    many[7] = np.roll(digits.images[7], 3, 0).tobytes()
    assert already_centred(many) == {number: pixels for number, pixels in many.items() if number != 7}
    assert already_centred({}) == {}
