import numpy as np
import pytest

from service.errors import InvalidTensor
from service.inference.images import ImageLimits
from service.inference.model_input import BatchLimits, read_batch
from service.inference.tensors import Tensor
from training import recipes
from training.data import load_dataset
from training.vision.input_spec import InputSpec

LIMITS = BatchLimits(ImageLimits(2**16, 784, 28), max_encoded=8, max_rows=8)
GLYPHS = load_dataset("starter").train.images[:3]
FORMS = [InputSpec(), InputSpec(side=20, low=-1.0), recipes.get("sprint").network.input]


@pytest.mark.parametrize("form", FORMS)
def test_pixels_and_the_floats_made_of_them_are_the_same_input(form: InputSpec) -> None:
    of_pixels = read_batch(Tensor("image", "UINT8", GLYPHS.shape, GLYPHS), form, LIMITS)
    features = form.to_features(GLYPHS).reshape(-1, form.grid_size, form.grid_size)
    of_floats = read_batch(Tensor("image", "FP32", features.shape, features), form, LIMITS)
    assert of_pixels.features.tobytes() == of_floats.features.tobytes() == form.to_features(GLYPHS).tobytes()
    # What the floats showed, as a picture: the network would be given the same by it, but for rounding to whole pixels.
    np.testing.assert_allclose(
        form.to_features(of_floats.glyphs), form.to_features(GLYPHS), atol=(form.high - form.low) / 509
    )


def test_floats_of_another_side_are_refused_with_the_right_one() -> None:
    form = InputSpec(side=20, block=2)
    values = np.zeros((1, 20, 20), np.float32)
    with pytest.raises(InvalidTensor, match=r"\[n, 10, 10\]"):
        read_batch(Tensor("image", "FP32", values.shape, values), form, LIMITS)
