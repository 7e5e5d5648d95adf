import numpy as np
import pytest

from training.nn.losses import LOSSES


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_derivative_of_the_value(name: str, weighted: bool, rng: np.random.Generator) -> None:
    loss = LOSSES[name].function
    outputs = rng.normal(size=(6, 4))
    targets = rng.dirichlet(np.ones(4), size=6)
    weights = rng.uniform(0.5, 2, 6) if weighted else None
    gradient = loss(outputs, targets, weights)[1]
    step = 1e-6
    for place in np.ndindex(*outputs.shape):
        nudge = np.zeros_like(outputs)
        nudge[place] = step
        slope = (loss(outputs + nudge, targets, weights)[0] - loss(outputs - nudge, targets, weights)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_not_touched_and_the_type_is_kept(name: str, rng: np.random.Generator) -> None:
    outputs = rng.normal(size=(3, 2)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    before = outputs.copy(), targets.copy()
    value, gradient = LOSSES[name].function(outputs, targets, None)
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(targets, before[1])
    assert isinstance(value, float)
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_extreme_logits_give_finite_losses(name: str) -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    wrong = np.array([[0, 1], [1, 0]], np.float32)
    value, gradient = LOSSES[name].function(logits, wrong, None)
    assert value == pytest.approx(2e4 if name == "cross_entropy" else 1e4)
    assert np.isfinite(gradient).all()


def test_class_numbers_and_one_hot_rows_say_the_same(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(8, 5)), rng.integers(0, 5, 8)
    sparse = LOSSES["cross_entropy"].function(logits, labels, None)
    dense = LOSSES["cross_entropy"].function(logits, np.eye(5)[labels], None)
    assert sparse[0] == pytest.approx(dense[0])
    np.testing.assert_allclose(sparse[1], dense[1])


def test_values_at_known_points() -> None:
    outputs, targets = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert LOSSES["quadratic"].function(outputs, targets, None)[0] == pytest.approx(0.125)
    assert LOSSES["squared_error"].function(outputs, targets, None)[0] == pytest.approx(0.25)
    assert LOSSES["mean_squared_error"].function(outputs, targets, None)[0] == pytest.approx(0.125)
    even = np.zeros((3, 10))
    assert LOSSES["cross_entropy"].function(even, np.array([0, 5, 9]), None)[0] == pytest.approx(np.log(10))
    assert LOSSES["binary_cross_entropy"].function(even, np.ones((3, 10)), None)[0] == pytest.approx(np.log(2))
