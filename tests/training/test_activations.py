import numpy as np
import pytest

from training.nn.activations import ACTIVATIONS
from training.types import Floats


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_is_the_derivative(name: str, rng: np.random.Generator) -> None:
    x, dy, step = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), 1e-6
    backward = ACTIVATIONS[name](x)[1]
    slope = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = step
        difference = ACTIVATIONS[name](x + nudge)[0] - ACTIVATIONS[name](x - nudge)[0]
        slope[place] = (difference * dy).sum() / (2 * step)
    np.testing.assert_allclose(backward(dy), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_is_kept_input_untouched_and_extremes_stay_finite(name: str, dtype: type) -> None:
    x: Floats = np.array([[-1e30, -80.0, -1.0, 0.0, 1.0, 80.0, 1e30]], dtype)
    before = x.copy()
    y, backward = ACTIVATIONS[name](x)
    dx = backward(np.ones_like(y))
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    np.testing.assert_array_equal(x, before)


def test_values_at_known_points() -> None:
    x = np.array([[-2.0, 0.0, 2.0]])
    assert ACTIVATIONS["linear"](x)[0].tolist() == x.tolist()
    assert ACTIVATIONS["relu"](x)[0].tolist() == [[0, 0, 2]]
    assert ACTIVATIONS["leaky_relu"](x)[0].tolist() == [[-0.02, 0, 2]]
    np.testing.assert_allclose(ACTIVATIONS["sigmoid"](x)[0], 1 / (1 + np.exp(-x)), rtol=1e-12)
    np.testing.assert_allclose(ACTIVATIONS["tanh"](x)[0], np.tanh(x))
    np.testing.assert_allclose(ACTIVATIONS["swish"](x)[0], x / (1 + np.exp(-x)), rtol=1e-12)


def test_softmax_rows_are_probabilities_that_a_shift_does_not_change(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 5))
    y = ACTIVATIONS["softmax"](x)[0]
    np.testing.assert_allclose(y.sum(axis=1), 1)
    np.testing.assert_allclose(ACTIVATIONS["softmax"](x + 1000)[0], y)
